//! A configured entry: one store, opened when it is needed and thrown away when its guest was stopped.

use std::time::Duration;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use super::bindings::{PluginError, guest};
use super::component::WasmPlugin;
use super::limits::{CALL_FUEL, HANDLES, HOSTCALL_BYTES, START_FUEL};
use super::report::{refused, stopped};
use super::state::HostState;
use super::stats;
use crate::error::{ComponentError, ErrorCode};

/// The exported interface of a kind.
pub trait Interface: Sized + Send {
    /// Its functions in one instance.
    type Guest: Send;
    /// Its name in the WIT files.
    const NAME: &'static str;

    fn find(ready: &InstancePre<HostState>) -> wasmtime::Result<Self>;
    fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Self::Guest>;
}

macro_rules! interfaces {
    ($($module:ident $name:literal),*) => {$(
        impl Interface for guest::$module::GuestIndices {
            type Guest = guest::$module::Guest;
            const NAME: &'static str = $name;

            fn find(ready: &InstancePre<HostState>) -> wasmtime::Result<Self> {
                Self::new(ready)
            }

            fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Self::Guest> {
                Self::load(self, store, instance)
            }
        }
    )*};
}

interfaces!(discretization "discretization", sigma_sampling "sigma-sampling", guidance "guidance",
    learning_rate "learning-rate", weighting "weighting", sampling "sampling", lifecycle "lifecycle");

/// An instance in a store of its own.
pub struct Open {
    pub store: Store<HostState>,
    pub instance: Instance,
    pub lifecycle: guest::lifecycle::Guest,
}

/// Instantiates a plugin in a fresh store.
pub fn open(plugin: &WasmPlugin, name: &str) -> Result<Open, ComponentError> {
    let ready = plugin.ready();
    let lifecycle = export::<guest::lifecycle::GuestIndices>(ready, name)?;
    let mut store = Store::new(ready.engine(), HostState::new(name.to_owned(), plugin.memory_mib()));
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        context.data().clock.check()?;
        Ok(UpdateDeadline::Continue(1))
    });
    let (instance, lifecycle) = call(&mut store, START_FUEL, "instantiate", |store| {
        let instance = ready.instantiate(&mut *store)?;
        let lifecycle = Interface::load(&lifecycle, store, &instance)?;
        Ok((instance, lifecycle))
    })?;
    Ok(Open { store, instance, lifecycle })
}

/// Calls into a component, within limits.
pub fn call<R>(
    store: &mut Store<HostState>,
    fuel: u64,
    function: &str,
    run: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<R>,
) -> Result<R, ComponentError> {
    store.data_mut().start_call();
    let result = store.set_fuel(fuel).and_then(|()| run(store));
    stats::record(store.data().clock.guest_time());
    result.map_err(|error| stopped(function, &error, store.data()))
}

fn export<I: Interface>(ready: &InstancePre<HostState>, name: &str) -> Result<I, ComponentError> {
    I::find(ready).map_err(|_| {
        let message = format!("the component does not export anneal:plugin/{}", I::NAME);
        ComponentError::new(name, ErrorCode::Unsupported, message)
    })
}

/// A configured entry of a kind.
pub struct Entry<I: Interface> {
    plugin: WasmPlugin,
    name: String,
    entry: String,
    config: String,
    interface: I,
    running: Option<Running<I::Guest>>,
}

/// An initialised instance.
pub struct Running<G> {
    pub store: Store<HostState>,
    pub guest: G,
}

impl<I: Interface> Entry<I> {
    /// Instantiates and initialises an entry, so that its settings are refused here.
    pub fn start(plugin: WasmPlugin, name: String, entry: &str, config: String) -> Result<Self, ComponentError> {
        Self::try_start(plugin, name, entry, config)?
    }

    /// As [`Entry::start`]; the outer error is of a guest that was stopped or cannot start, the inner one the guest's own.
    pub fn try_start(
        plugin: WasmPlugin,
        name: String,
        entry: &str,
        config: String,
    ) -> Result<Result<Self, ComponentError>, ComponentError> {
        let interface = export::<I>(plugin.ready(), &name)?;
        let mut started = Self { plugin, name, entry: entry.to_owned(), config, interface, running: None };
        Ok(started.try_run()?.map(|running| {
            started.running = Some(running);
            started
        }))
    }

    /// The entry as messages name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A fresh, initialised instance.
    pub fn run(&self) -> Result<Running<I::Guest>, ComponentError> {
        self.try_run()?
    }

    fn try_run(&self) -> Result<Result<Running<I::Guest>, ComponentError>, ComponentError> {
        let Open { mut store, instance, lifecycle } = open(&self.plugin, &self.name)?;
        let guest = call(&mut store, START_FUEL, "init", |store| {
            let guest = self.interface.load(store, &instance)?;
            Ok(lifecycle.call_init(store, &self.entry, &self.config)?.map(|()| guest))
        })?;
        Ok(guest.map(|guest| Running { store, guest }).map_err(|error| refused(&self.name, error)))
    }

    /// The waiting instance, or a fresh one.
    pub fn take(&mut self) -> Result<Running<I::Guest>, ComponentError> {
        match self.running.take() {
            Some(running) => Ok(running),
            None => self.run(),
        }
    }

    /// Calls a function of the guest. After a trap its store is dead; the next call gets a fresh one.
    pub fn call<R>(
        &mut self,
        function: &str,
        run: impl FnOnce(&I::Guest, &mut Store<HostState>) -> wasmtime::Result<Result<R, PluginError>>,
    ) -> Result<R, ComponentError> {
        self.try_call(function, run)?.0
    }

    /// As [`Entry::call`], with what the call took; the outer error is of a guest that was stopped, the inner one the
    /// guest's own.
    pub fn try_call<R>(
        &mut self,
        function: &str,
        run: impl FnOnce(&I::Guest, &mut Store<HostState>) -> wasmtime::Result<Result<R, PluginError>>,
    ) -> Result<(Result<R, ComponentError>, Cost), ComponentError> {
        let mut running = self.take()?;
        let result = call(&mut running.store, CALL_FUEL, function, |store| run(&running.guest, store))?;
        let left = running.store.get_fuel().unwrap_or(CALL_FUEL);
        let state = running.store.data();
        let cost = Cost {
            fuel: CALL_FUEL.saturating_sub(left),
            guest_time: state.clock.guest_time(),
            memory: state.memory.used() as u64,
        };
        self.running = Some(running);
        Ok((result.map_err(|error| refused(&self.name, error)), cost))
    }
}

/// What a call of a component took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Units of fuel: about one an instruction, the same on every machine.
    pub fuel: u64,
    /// Time in the guest, without the host's.
    pub guest_time: Duration,
    /// Linear memory of the instance afterwards, bytes.
    pub memory: u64,
}
