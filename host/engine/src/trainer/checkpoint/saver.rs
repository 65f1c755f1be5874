//! Saves checkpoints beside training: the state is copied, and training goes on while a thread writes the copy.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};
use tch::{Device, Kind, TchError, Tensor};

use super::{CheckpointDir, CheckpointError, Kept, Snapshot};
use crate::weights::{Named, num_bytes};

/// How often the disk is asked for room.
const ROOM_EVERY: Duration = Duration::from_secs(30);

/// What copies begin at a multiple of, bytes; that of any kind of number.
const ALIGNMENT: usize = 64;

type Saved = Result<PathBuf, CheckpointError>;

/// Saves a run's checkpoints, one at a time.
///
/// What is being written when it is dropped is finished first.
#[derive(Debug)]
pub struct Saver {
    dir: CheckpointDir,
    beside: bool,
    /// Bytes of main memory that can be had.
    free_memory: fn() -> u64,
    writing: Option<JoinHandle<Saved>>,
    /// When the disk was asked for room, and whether it had any.
    looked: Option<(Instant, bool)>,
    told_of_memory: bool,
}

impl Saver {
    /// Saves into `dir`, beside training if `beside` and where main memory has room for a copy.
    pub fn new(dir: CheckpointDir, beside: bool) -> Self {
        Self { dir, beside, free_memory, writing: None, looked: None, told_of_memory: false }
    }

    /// Begins to save. What is being written is waited for; where the copy is too large for main memory, so is this
    /// save. Returns the checkpoints that are on disk since the last call.
    ///
    /// # Errors
    /// When a checkpoint cannot be written; the older ones are untouched.
    pub fn begin(&mut self, snapshot: &Snapshot, kept: &Kept) -> Result<Vec<PathBuf>, CheckpointError> {
        let mut done = self.wait()?.map_or_else(Vec::new, |path| vec![path]);
        let start = Instant::now();
        let Some(copy) = self.copy(snapshot) else {
            done.push(saved(&self.dir, snapshot, kept)?);
            return Ok(done);
        };
        tracing::debug!("step {}: the state was copied in {:.2} s", copy.position.step, start.elapsed().as_secs_f64());
        let (dir, rules) = (self.dir.clone(), kept.clone());
        let thread = thread::Builder::new().name("checkpoint".to_owned());
        match thread.spawn(move || saved(&dir, &copy, &rules)) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => {
                tracing::warn!("no thread could be started to save beside training: {error}");
                done.push(saved(&self.dir, snapshot, kept)?);
            }
        }
        Ok(done)
    }

    /// The checkpoint that is on disk since the last call, if one is.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn take_done(&mut self) -> Result<Option<PathBuf>, CheckpointError> {
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) { self.wait() } else { Ok(None) }
    }

    /// Waits for what is being written.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn wait(&mut self) -> Result<Option<PathBuf>, CheckpointError> {
        let Some(writing) = self.writing.take() else { return Ok(None) };
        match writing.join() {
            Ok(saved) => saved.map(Some),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Why the next checkpoint, of so many bytes of tensors, will not fit onto the disk, once each time that room runs
    /// out. The disk is asked now and then, however often this is called.
    pub fn lacks_room(&mut self, bytes: u64, now: Instant) -> Option<CheckpointError> {
        let had_room = match self.looked {
            Some((when, _)) if now.saturating_duration_since(when) < ROOM_EVERY => return None,
            Some((_, had_room)) => had_room,
            None => true,
        };
        let lacks = self.dir.check_room(bytes).err();
        self.looked = Some((now, lacks.is_none()));
        lacks.filter(|_| had_room)
    }

    /// A copy in main memory, if it may take up so much of it.
    fn copy(&mut self, snapshot: &Snapshot) -> Option<Snapshot> {
        if !self.beside {
            return None;
        }
        let (needed, free) = (snapshot.bytes(), (self.free_memory)());
        // Half of it is left to the workers, to the page cache, and to others on the machine.
        let why = if needed > free / 2 {
            format!("its copy takes {} MiB, {} MiB of main memory are free", needed >> 20, free >> 20)
        } else {
            match snapshot.copied() {
                Ok(copy) => return Some(copy),
                Err(error) => error.to_string(),
            }
        };
        if !std::mem::replace(&mut self.told_of_memory, true) {
            tracing::warn!("training waits while a checkpoint is written: {why}");
        }
        None
    }
}

/// Saves, and tells how long that took.
fn saved(dir: &CheckpointDir, snapshot: &Snapshot, kept: &Kept) -> Saved {
    let start = Instant::now();
    let path = dir.save(snapshot, kept)?;
    let (step, seconds) = (snapshot.position.step, start.elapsed().as_secs_f64());
    tracing::debug!("step {step}: a checkpoint of {} MiB was written in {seconds:.2} s", snapshot.bytes() >> 20);
    Ok(path)
}

impl Drop for Saver {
    fn drop(&mut self) {
        // A run that ends with an error of its own still keeps the checkpoint that it has begun.
        if let Some(Err(error)) = self.writing.take().and_then(|writing| writing.join().ok()) {
            tracing::error!("the last checkpoint could not be written: {error}");
        }
    }
}

impl Snapshot {
    /// The same in memory of its own, on the CPU, which later steps do not change.
    ///
    /// # Errors
    /// When there is too little memory.
    pub fn copied(&self) -> Result<Self, TchError> {
        // One block, which all cores take from the system at once: a copy from a GPU into memory that is not there yet is ten
        // times slower.
        let room = |tensor: &Tensor| num_bytes(tensor).next_multiple_of(ALIGNMENT);
        let all = [&self.model, &self.ema, &self.optimizer].into_iter().flatten();
        let bytes: usize = all.map(|(_, tensor)| room(tensor)).sum();
        let block = Tensor::f_empty([bytes as i64], (Kind::Uint8, Device::Cpu))?.f_zero_()?;
        let mut at = 0;
        let mut copy = |tensor: &Tensor| -> Result<Tensor, TchError> {
            let part = block.f_narrow(0, at, num_bytes(tensor) as i64)?;
            at += room(tensor) as i64;
            let mut part = part.f_view_dtype(tensor.kind())?.f_view(&tensor.size()[..])?;
            part.f_copy_(&tensor.detach())?;
            Ok(part)
        };
        let mut copied = |named: &[Named]| -> Result<Vec<Named>, TchError> {
            named.iter().map(|(name, tensor)| Ok((name.clone(), copy(tensor)?))).collect()
        };
        Ok(Self {
            model: copied(&self.model)?,
            ema: copied(&self.ema)?,
            optimizer: copied(&self.optimizer)?,
            config: self.config.clone(),
            plugins: self.plugins.clone(),
            losses: self.losses.clone(),
            lineage: self.lineage.clone(),
            ..*self
        })
    }
}

/// Bytes of main memory that this process can have, by the machine and by the control group it is in (a container's, a
/// batch job's).
fn free_memory() -> u64 {
    // Where the system does not say, nothing is taken for free.
    let Ok(mut system) = System::new() else { return 0 };
    system.refresh_memory();
    let of_machine = system.available_memory();
    let of_group = get_current_pid().ok().and_then(|pid| {
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing());
        let limits = system.process(pid)?.cgroup_limits()?;
        // The group's free memory leaves out the page cache, which checkpoints fill and which gives way.
        Some(limits.total_memory.saturating_sub(limits.rss))
    });
    of_machine.min(of_group.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::tests::snapshot;
    use super::super::{load, verify};
    use super::*;

    fn saver(run: &std::path::Path, free_memory: fn() -> u64) -> Saver {
        let mut saver = Saver::new(CheckpointDir::of_run(run), true);
        saver.free_memory = free_memory;
        saver
    }

    #[test]
    fn what_training_does_meanwhile_is_not_in_the_checkpoint() {
        let run = tempfile::tempdir().unwrap();
        let mut saver = saver(run.path(), || 1 << 40);
        let state = snapshot(3);
        assert!(saver.begin(&state, &Kept::default()).unwrap().is_empty());
        let _ = state.model[0].1.shallow_clone().fill_(-1.0);
        let _ = state.optimizer[0].1.shallow_clone().fill_(-1.0);
        let path = saver.wait().unwrap().unwrap();
        let loaded = load(&path).unwrap();
        assert!(
            loaded.model[0].1.equal(&snapshot(3).model[0].1)
                && loaded.optimizer[0].1.equal(&snapshot(3).optimizer[0].1)
        );
        assert_eq!((loaded.position, loaded.losses), (state.position, state.losses));
        assert!(saver.wait().unwrap().is_none(), "it is told once");
    }

    #[test]
    fn a_copy_has_every_kind_and_shape() {
        let strided = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]).transpose(0, 1);
        let kinds = [Kind::BFloat16, Kind::Int64, Kind::Uint8, Kind::Bool].map(|kind| strided.to_kind(kind));
        let shapes = [strided, Tensor::from(7.5_f64), Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))];
        let model: Vec<Named> = kinds.into_iter().chain(shapes).map(|tensor| (String::new(), tensor)).collect();
        let state = Snapshot { model, ..snapshot(1) };
        let copy = state.copied().unwrap();
        for ((_, tensor), (_, copy)) in state.model.iter().zip(&copy.model) {
            assert!(copy.equal(tensor) && copy.kind() == tensor.kind() && copy.size() == tensor.size(), "{tensor:?}");
        }
        assert!(copy.optimizer[0].1.equal(&state.optimizer[0].1));
    }

    #[test]
    fn one_is_written_after_the_other() {
        let run = tempfile::tempdir().unwrap();
        let mut saver = saver(run.path(), || 1 << 40);
        let kept = Kept { last: Some(1), ..Kept::default() };
        assert!(saver.begin(&snapshot(1), &kept).unwrap().is_empty());
        for step in 2..6 {
            let done = saver.begin(&snapshot(step), &kept).unwrap();
            assert_eq!(done.len(), 1);
            assert!(done[0].ends_with(format!("step-{:08}", step - 1)), "{done:?}");
        }
        drop(saver);
        let left = CheckpointDir::of_run(run.path()).list().unwrap();
        assert_eq!(left.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [5], "what was begun is finished");
        assert!(verify(&left[0].1).is_ok());
    }

    #[test]
    fn without_room_for_a_copy_training_waits() {
        let run = tempfile::tempdir().unwrap();
        let needed = snapshot(1).bytes();
        assert_eq!(needed, 16);
        for (free, waits) in [((|| 31) as fn() -> u64, true), (|| 32, false)] {
            let mut saver = saver(run.path(), free);
            let done = saver.begin(&snapshot(1), &Kept::default()).unwrap();
            assert_eq!((done.len(), saver.writing.is_some()), (usize::from(waits), !waits));
        }
        let mut never = Saver::new(CheckpointDir::of_run(run.path()), false);
        assert_eq!(never.begin(&snapshot(2), &Kept::default()).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_of_the_next_call() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("checkpoints"), "no folder").unwrap();
        let mut saver = saver(run.path(), || 1 << 40);
        saver.begin(&snapshot(1), &Kept::default()).unwrap();
        let error = saver.begin(&snapshot(2), &Kept::default()).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
        assert!(saver.writing.is_none());
    }

    #[test]
    fn a_disk_that_fills_up_is_told_once() {
        let run = tempfile::tempdir().unwrap();
        let (mut saver, start) = (saver(run.path(), || 0), Instant::now());
        let later = |times: u32| start + times * ROOM_EVERY;
        let much = u64::MAX / 2;
        assert!(saver.lacks_room(1, start).is_none());
        assert!(saver.lacks_room(much, start + ROOM_EVERY / 2).is_none(), "it is not asked again so soon");
        assert!(matches!(saver.lacks_room(much, later(1)), Some(CheckpointError::Full { .. })));
        assert!(saver.lacks_room(much, later(2)).is_none(), "it was told");
        assert!(saver.lacks_room(1, later(3)).is_none());
        assert!(saver.lacks_room(much, later(4)).is_some(), "it had room in between");
    }

    #[test]
    fn this_machine_has_memory() {
        let free = free_memory();
        assert!(free > 1 << 20 && free < 1 << 50, "{free}");
    }
}
