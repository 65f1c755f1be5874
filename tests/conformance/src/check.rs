//! One check: its id, what it demands, and how it finds out.

use std::fmt;

use anneal::config::PluginKind;
use anneal::plugin::Runtime;
use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// What a plugin that passes all checks up to it can be relied on for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// The host can load it.
    L0,
    /// Its results are right.
    L1,
    /// Its results are the same again.
    L2,
    /// Nothing one does to it breaks it.
    L3,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", *self as u8)
    }
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A plugin as a whole.
    Plugin,
    /// A plugin's component.
    Component,
    /// A plugin's native library.
    Library,
    /// Every entry.
    Entry,
    /// Every entry of a component.
    Function,
    /// Every entry of a component that answers with numbers.
    Numbers,
    /// Every entry of a native library.
    Native,
    /// Every entry that is started with settings alone: all but solvers.
    Settings,
    /// Entries of one kind.
    Kind(PluginKind),
}

impl Scope {
    /// Whether a check of entries is about those of `kind` that `runtime` runs.
    pub fn takes(self, kind: PluginKind, runtime: Runtime) -> bool {
        match self {
            Self::Plugin | Self::Component | Self::Library => false,
            Self::Entry => true,
            Self::Function => runtime == Runtime::Wasm,
            Self::Native => runtime == Runtime::Native,
            Self::Settings => kind != PluginKind::Sampler,
            Self::Numbers => runtime == Runtime::Wasm && kind != PluginKind::Sampler,
            Self::Kind(wanted) => wanted == kind,
        }
    }
}

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The plugin does not do what is demanded.
    Fail(String),
    /// The check is about something that the plugin does not claim to have.
    NotDeclared(String),
}

impl Finding {
    /// A failure with a message.
    pub fn fail(message: impl Into<String>) -> Self {
        Self::Fail(message.into())
    }
}

/// What a check finds.
pub type Found = Result<(), Finding>;

/// Ends a check with a failure unless the condition holds.
macro_rules! demand {
    ($holds:expr, $($message:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            return Err($crate::check::Finding::Fail(format!($($message)+)));
        }
    };
}
pub(crate) use demand;

/// A check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its id, which stays.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The level it is needed for.
    pub level: Level,
    /// Whether it only warns.
    pub is_advisory: bool,
    /// Whether nothing else of the plugin or the entry is checked when it fails: the rest would only fail for the same reason.
    pub is_gate: bool,
    /// What it is about.
    pub scope: Scope,
    /// What it demands, in a sentence.
    pub demands: &'static str,
    pub(crate) run: fn(&mut Subject) -> Found,
}

impl Check {
    pub(crate) const fn new(
        id: &'static str,
        name: &'static str,
        level: Level,
        scope: Scope,
        demands: &'static str,
        run: fn(&mut Subject) -> Found,
    ) -> Self {
        Self { id, name, level, is_advisory: false, is_gate: false, scope, demands, run }
    }

    /// The same check, as a gate.
    pub(crate) const fn gate(mut self) -> Self {
        self.is_gate = true;
        self
    }

    /// The same check, as advice.
    pub(crate) const fn advisory(mut self) -> Self {
        self.is_advisory = true;
        self
    }
}
