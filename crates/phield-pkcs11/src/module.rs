//! The module: one context per path for the whole process, initialised once and never finalised.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::Pkcs11Error;
use crate::gate::Gate;

/// Finalising would end the sessions of everybody else in the process who uses the module.
static MODULES: LazyLock<Mutex<HashMap<PathBuf, Arc<Module>>>> = LazyLock::new(Mutex::default);

/// A module. A gate each: one that hangs holds up no other.
#[derive(Default)]
struct Module {
    /// Passed by who asks whether it is initialised; and by who loads or initialises it, alone however long that takes:
    /// modules do not bear two who do.
    gate: Gate,
    loaded: Mutex<Option<Pkcs11>>,
}

impl Module {
    fn loaded(&self) -> MutexGuard<'_, Option<Pkcs11>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process that used an HSM first; 0 before.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// The initialised module at `path`. May block: for the threads of [`Workers`](crate::workers::Workers).
pub(crate) fn open(path: &Path, timeout: Duration) -> Result<Pkcs11, Pkcs11Error> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let module = Arc::clone(modules.entry(path.to_owned()).or_default());
    drop(modules);
    // Nor is it asked whether it is initialised while another thread initialises it: a module need not bear that.
    let pass = module.gate.enter(timeout)?;
    let loaded = module.loaded().clone();
    if let Some(loaded) = loaded {
        match loaded.get_slots_with_token() {
            Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {
                // Somebody else in the process has finalised it.
                pass.alone(true)?;
                initialize(&loaded)?;
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        return Ok(loaded);
    }
    pass.alone(true)?;
    let loaded = Pkcs11::new(path).map_err(|error| Pkcs11Error::Module {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    initialize(&loaded)?;
    *module.loaded() = Some(loaded.clone());
    Ok(loaded)
}

fn initialize(module: &Pkcs11) -> Result<(), Pkcs11Error> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another user of the module in this process was first.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a process that was forked from one that had used an HSM. Takes no lock: one may have been held when it was
/// forked, for ever.
pub(crate) fn check_process() -> Result<(), Pkcs11Error> {
    let this = std::process::id();
    match PROCESS.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed) {
        Err(first) if first != this => Err(Pkcs11Error::Forked),
        _ => Ok(()),
    }
}
