//! Exit codes, and failures as people see them.

use std::process::ExitCode;

use anneal::assemble::AssembleError;
use anneal::config::Problems;
use anneal::data::given::GivenError;
use anneal::data::{DataError, PackError};
use anneal::error::{ComponentError, ErrorCode};
use anneal::logging::LogError;
use anneal::plugin::PluginError;
use anneal::trainer::TrainError;
use anneal::trainer::checkpoint::CheckpointError;

/// What the process says when it ends. `anneal --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// `anneal checkpoint diff` found differences.
    Differs = 1,
    /// The arguments are wrong (clap's own code).
    Usage = 2,
    /// The config is wrong.
    Config = 3,
    /// A plugin is missing, refused, or failed.
    Plugin = 4,
    /// The data is missing or cannot be read.
    Data = 5,
    /// A checkpoint is missing, damaged or of another run.
    Checkpoint = 6,
    /// The loss or the gradient was not finite, or a spike.
    NonFinite = 7,
    /// A file of the run cannot be written; the disk may be full.
    Disk = 8,
    /// There is not enough memory.
    Memory = 9,
    /// A fault of anneal or libtorch.
    Internal = 70,
    /// Ctrl-C: the state is saved.
    Interrupted = 130,
    /// SIGTERM: the state is saved.
    Terminated = 143,
}

/// The table of exit codes for `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0    done
  1    the weights that were compared differ
  2    the arguments are wrong
  3    the config is wrong
  4    a plugin is missing, refused, or failed
  5    the data is missing or cannot be read
  6    a checkpoint is missing, damaged or of another run
  7    the loss or the gradient was not finite, or a spike
  8    a file of the run cannot be written
  9    there is not enough memory
  70   a fault of anneal or libtorch
  130  stopped by Ctrl-C, the state is saved
  143  stopped by SIGTERM, the state is saved";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a verb failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What a person reads.
    pub message: String,
}

impl Failure {
    /// A failure with a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<Problems> for Failure {
    fn from(error: Problems) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Self::new(Exit::Plugin, format!("{error}\nhelp: {}", error.help()))
    }
}

impl From<ComponentError> for Failure {
    fn from(error: ComponentError) -> Self {
        let exit = match error.code {
            ErrorCode::InvalidConfig => Exit::Config,
            _ => Exit::Plugin,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::new(Exit::Data, error.to_string())
    }
}

impl From<GivenError> for Failure {
    fn from(error: GivenError) -> Self {
        let exit = match error {
            GivenError::Nothing { .. } | GivenError::Sample(_) | GivenError::Data(_) => Exit::Data,
            GivenError::NoForm { .. }
            | GivenError::OtherForm { .. }
            | GivenError::Count { .. }
            | GivenError::Number { .. }
            | GivenError::UnknownEntry { .. }
            | GivenError::MissingEntry { .. }
            | GivenError::NoSize
            | GivenError::Size { .. } => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        let exit = match error {
            PackError::NotEmpty(_) => Exit::Usage,
            PackError::Write { .. } => Exit::Disk,
            PackError::Sample(_) => Exit::Data,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let exit = match error {
            CheckpointError::Io { .. } | CheckpointError::Full { .. } => Exit::Disk,
            CheckpointError::Damaged { .. } | CheckpointError::None { .. } | CheckpointError::Misfit { .. } => {
                Exit::Checkpoint
            }
        };
        Self::new(exit, error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::new(Exit::Disk, error.to_string())
    }
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Self {
        match error {
            AssembleError::Config(error) => error.into(),
            AssembleError::Plugin(error) => error.into(),
            AssembleError::Component(error) => error.into(),
            AssembleError::Data(error) => error.into(),
            AssembleError::DataAt(error) => Self::new(Exit::Data, error.to_string()),
            AssembleError::PluginsAt(error) => Self::new(Exit::Plugin, error.to_string()),
            AssembleError::Given(error) => error.into(),
            AssembleError::TooShort(error) => Self::new(Exit::Data, error.to_string()),
            AssembleError::Checkpoint(error) => error.into(),
            AssembleError::Cache(_) => Self::new(Exit::Disk, error.to_string()),
            AssembleError::Device { .. } => Self::new(Exit::Config, error.to_string()),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Component(error) => error.into(),
            TrainError::Data(error) => error.into(),
            TrainError::Checkpoint(error) => error.into(),
            TrainError::Log(error) => error.into(),
            TrainError::Refused(_) | TrainError::Guarded { .. } => Self::new(Exit::NonFinite, error.to_string()),
            TrainError::Torch(_) | TrainError::Optimizer(_) => Self::new(Exit::Internal, error.to_string()),
        }
    }
}
