//! Panics become texts: where, and what was said.

use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;

use super::error::without_backtrace;
use super::host::{self, Level};

thread_local! {
    /// Where the thread last panicked; the payload that `catch_unwind` returns does not say.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sends panics to the host's log instead of the standard error output. The hook is the plugin's own: a `cdylib` has
/// its own copy of the standard library.
pub(super) fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let location = info.location().map(|place| format!("{}:{}:{}", place.file(), place.line(), place.column()));
        let text = describe(info.payload());
        host::log(Level::Error, &format!("panicked at {}: {text}", location.as_deref().unwrap_or("an unknown place")));
        LOCATION.set(location);
    }));
}

/// The text of a caught panic, with its place where that is known.
pub(super) fn text(payload: &(dyn Any + Send)) -> String {
    let text = describe(payload);
    match LOCATION.take() {
        Some(location) => format!("panicked: {text} (at {location})"),
        None => format!("panicked: {text}"),
    }
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "without a text",
    };
    // tch's operations without `f_` unwrap libtorch's errors.
    let text = without_backtrace(text);
    match text.split_once("an `Err` value: Torch(\"") {
        Some((_, error)) => format!("libtorch: {}", error.trim_end_matches("\")")),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_panics_are_found_and_cut() {
        assert_eq!(describe(&"plain"), "plain");
        assert_eq!(describe(&"owned".to_owned()), "owned");
        assert_eq!(describe(&7_i32), "without a text");
        let unwrapped = "called `Result::unwrap()` on an `Err` value: Torch(\"bad shapes\\nException raised from x\")";
        assert_eq!(describe(&unwrapped), "libtorch: bad shapes");
        let short = "called `Result::unwrap()` on an `Err` value: Torch(\"bad shapes\")";
        assert_eq!(describe(&short), "libtorch: bad shapes");
    }
}
