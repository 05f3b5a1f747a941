//! The login at a token: one PIN, tried once, by one thread of a provider at a time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use phield_core::Passphrase;

use crate::Pkcs11Error;
use crate::gate::{Gate, Pass};

/// What the threads of a provider need to reach its HSM.
pub(crate) struct Access {
    /// The module.
    pub(crate) module: PathBuf,
    /// The PIN, as it was at the start.
    pub(crate) pin: Arc<Passphrase>,
    /// Where it is read anew before it is used once more.
    pub(crate) pin_file: Option<PathBuf>,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// The logins at every token.
    pub(crate) logins: Mutex<HashMap<String, Arc<Login>>>,
}

impl Access {
    pub(crate) fn login(&self, token: &str) -> Arc<Login> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(logins.entry(token.to_owned()).or_default())
    }

    /// The PIN that the file has now; `None` when it cannot be read, or there is no file.
    fn fresh_pin(&self) -> Option<Passphrase> {
        Passphrase::from_file(self.pin_file.as_deref()?).ok()
    }
}

/// What is known of the login at one token, by all threads of a provider.
#[derive(Default)]
pub(crate) struct Login {
    /// Passed by who logs in, or looks for keys.
    gate: Gate,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The PIN that was tried last.
    tried: Option<Arc<Passphrase>>,
    /// What the token said about it: it is asked once.
    refused: Option<Pkcs11Error>,
    /// Whether it has worked.
    worked: bool,
}

impl Login {
    /// Waits for the other threads.
    pub(crate) fn enter(&self, timeout: Duration) -> Result<Pass<'_>, Pkcs11Error> {
        self.gate.enter(timeout)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the process in, if it is not. A PIN that was refused is not tried again, for tokens lock; and the last try that a
    /// token leaves is not made, but with a PIN that was put into the file since another one was tried here.
    pub(crate) fn log_in(&self, access: &Access, at: &At<'_>, pass: &Pass<'_>) -> Result<(), Pkcs11Error> {
        let refused = self.known().refused.clone();
        if refused.is_none() && is_logged_in(at.session)? {
            return Ok(());
        }
        let tried = self.known().tried.clone();
        let fresh = tried.is_some().then(|| access.fresh_pin()).flatten();
        let fresh = fresh.filter(|pin| tried.is_some_and(|tried| tried.expose() != pin.expose()));
        match refused {
            Some(refused) if fresh.is_none() => return Err(refused),
            Some(_) if is_logged_in(at.session)? => return Ok(()),
            _ => {}
        }
        let info = at.context.get_token_info(at.slot)?;
        if info.user_pin_locked() {
            return Err(Pkcs11Error::PinLocked(at.token.to_owned()));
        }
        if info.user_pin_final_try() && fresh.is_none() {
            return Err(Pkcs11Error::PinFinalTry(at.token.to_owned()));
        }
        self.try_pin(access, at, pass, fresh)
    }

    /// Tries a PIN: `fresh`, or the one that was tried before, or the first.
    fn try_pin(
        &self,
        access: &Access,
        at: &At<'_>,
        pass: &Pass<'_>,
        fresh: Option<Passphrase>,
    ) -> Result<(), Pkcs11Error> {
        // Nobody else tries a PIN that may be wrong while it is not known what became of this try.
        pass.alone(true)?;
        let (pin, proven) = self.known().next(access, fresh);
        pass.alone(!proven)?;
        let tried = at
            .session
            .login(UserType::User, Some(&AuthPin::from(pin.expose().to_owned())));
        let error = tried
            .as_ref()
            .err()
            .map(|error| Pkcs11Error::login(error, at.token));
        self.known().learn(&pin, error.as_ref());
        pass.alone(false)?;
        match error {
            Some(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Known {
    /// The PIN to try, and whether it has worked before.
    fn next(&mut self, access: &Access, fresh: Option<Passphrase>) -> (Arc<Passphrase>, bool) {
        let pin = match (fresh, &self.tried) {
            (Some(fresh), _) => Arc::new(fresh),
            (None, Some(tried)) => return (Arc::clone(tried), self.worked),
            (None, None) => Arc::clone(&access.pin),
        };
        *self = Self {
            tried: Some(Arc::clone(&pin)),
            refused: None,
            worked: false,
        };
        (pin, false)
    }

    /// What became of a try: no error, or one that says that somebody else has logged in first, or another one.
    fn learn(&mut self, pin: &Arc<Passphrase>, error: Option<&Option<Pkcs11Error>>) {
        // A thread that was stuck may come late.
        if !self.tried.as_ref().is_some_and(|tried| Arc::ptr_eq(tried, pin)) {
            return;
        }
        match error {
            None => self.worked = true,
            Some(Some(error)) if !error.may_pass() => self.refused = Some(error.clone()),
            Some(_) => {}
        }
    }
}

/// Where to log in.
pub(crate) struct At<'a> {
    pub(crate) context: &'a Pkcs11,
    pub(crate) slot: Slot,
    pub(crate) session: &'a Session,
    pub(crate) token: &'a str,
}

/// Whether the process is logged in.
pub(crate) fn is_logged_in(session: &Session) -> Result<bool, Pkcs11Error> {
    let state = session.get_session_info()?.session_state();
    Ok(matches!(state, SessionState::RwUser | SessionState::RoUser))
}
