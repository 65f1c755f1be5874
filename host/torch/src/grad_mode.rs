//! Whether operations of this thread are recorded for autograd, as guards that restore also on panic.

use std::marker::PhantomData;

/// Restores the former grad mode when it is dropped. It stays on its thread, because the mode is the thread's.
#[derive(Debug)]
pub struct GradMode {
    before: bool,
    not_send: PhantomData<*const ()>,
}

/// Nothing is recorded while the guard lives.
pub fn no_grad() -> GradMode {
    set(false)
}

/// Operations are recorded while the guard lives.
pub fn enable_grad() -> GradMode {
    set(true)
}

/// The mode stays as it is, and comes back if what runs under the guard changes it.
pub fn keep() -> GradMode {
    set(enabled())
}

/// Whether operations are recorded.
pub fn enabled() -> bool {
    let before = swap(true);
    swap(before);
    before
}

fn set(on: bool) -> GradMode {
    GradMode { before: swap(on), not_send: PhantomData }
}

fn swap(on: bool) -> bool {
    // SAFETY: sets a flag of this thread and returns its former value.
    unsafe { torch_sys::at_grad_set_enabled(on.into()) != 0 }
}

impl Drop for GradMode {
    fn drop(&mut self) {
        swap(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_comes_back_also_after_a_panic() {
        assert!(enabled());
        let _ = std::panic::catch_unwind(|| {
            let _off = no_grad();
            assert!(!enabled());
            panic!("on purpose");
        });
        assert!(enabled());
        let _off = no_grad();
        {
            let _on = enable_grad();
            assert!(enabled());
        }
        assert!(!enabled());
    }
}
