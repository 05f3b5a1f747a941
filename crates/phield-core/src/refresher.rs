//! Keeps a keyring fresh: one thread a keyring, with an asynchronous runtime of its own, so that a busy application cannot
//! starve it. It makes every call to key store and providers, one at a time for a key (R-2, R-12, I-8).
//!
//! ```text
//! soft TTL   manifest read and verified again, keys unwrapped again, in the background
//! outage     try again with growing pauses; keys serve until their hard TTL, then they are gone
//! refusal    the key is gone at once; asked again later, for access may come back
//! ```

mod agent;
mod tracked;

use std::fmt;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::blind_index::IndexError;
use crate::error::{OpenError, OpenRowError, RingError, SealError};
use crate::key::KeyId;
use crate::keyring::{Contents, Keyring, Shared};
use crate::patience::Patience;
use crate::ring::Ring;
use crate::subject_key::SubjectError;
use crate::uid::UidError;
use agent::{Agent, Event};

/// The handle of the thread, held by its keyring. The thread ends with it.
pub(crate) struct Refresher {
    events: mpsc::UnboundedSender<Event>,
    /// The process that has the thread.
    process: u32,
}

impl Refresher {
    /// Whether this is the process that has the thread: the child of a fork has a copy of the handle alone.
    fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    fn send(&self, event: Event) {
        // Without its thread a keyring ends with its hard TTL.
        let _ = self.events.send(event);
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.send(Event::Stop);
    }
}

impl fmt::Debug for Refresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresher").finish_non_exhaustive()
    }
}

impl Ring {
    /// Loads the ring and its keys into a keyring that refreshes itself; see [`Keyring`].
    ///
    /// A key whose provider is out of reach or refuses it is left for later; every other failure refuses the ring.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn into_keyring(mut self) -> Result<Keyring, RingError> {
        self.settings.patience = Patience::of(&self.settings.cache);
        let contents = Contents::of(&self.settings);
        let shared = Shared::new();
        let (events, inbox) = mpsc::unbounded_channel();
        let (ready, loaded) = oneshot::channel();
        let refresher = Refresher {
            events: events.clone(),
            process: std::process::id(),
        };
        let agent = Agent::new(self, Arc::clone(&shared), events, ready);
        let thread = thread::Builder::new().name("phield-keys".to_owned());
        thread
            .spawn(move || agent.run(inbox))
            .map_err(RingError::Thread)?;
        loaded.await.unwrap_or(Err(RingError::Stopped))?;
        Ok(Keyring::new(contents, shared, Some(refresher)))
    }
}

/// What an error says was not there, and may be after a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// A key that is in the ring, and could not be unwrapped.
    Key(KeyId),
    /// A manifest that is newer than the one in force.
    Manifest,
}

/// Errors of work that a refresh of the keyring may help; see [`Keyring::retrying`].
pub trait MissingKey {
    /// What was not there; `None` for every other error.
    fn needs(&self) -> Option<Needs>;
}

impl Keyring {
    /// Does `work`, and once more after a refresh if it fails for a key that is not there: one that its provider could
    /// not unwrap so far, or one that another process has made since the manifest was read.
    ///
    /// Any number of callers that miss one key cause one call to its provider. Unknown keys cause at most one reading of
    /// the manifest in 10 seconds.
    ///
    /// ```
    /// # use phield_core::{Keyring, OpenRowError};
    /// # struct Patient;
    /// # #[derive(Clone)] struct SealedPatient;
    /// # impl SealedPatient { fn open(self, _: &Keyring) -> Result<Patient, OpenRowError> { Ok(Patient) } }
    /// # async fn show(keyring: &Keyring, sealed: SealedPatient) -> Result<(), OpenRowError> {
    /// let patient = keyring.retrying(|keyring| sealed.clone().open(keyring)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of `work`.
    pub async fn retrying<'k, T, E: MissingKey>(
        &'k self,
        mut work: impl FnMut(&'k Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = match work(self) {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        match failed.needs() {
            Some(needs) => {
                self.provide(needs).await;
                work(self)
            }
            None => Err(failed),
        }
    }

    /// Asks for what was not there; see [`retrying`](Self::retrying), which knows when to.
    pub async fn provide(&self, needs: Needs) {
        let Some(refresher) = self.refresher().filter(|refresher| refresher.is_here()) else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        refresher.send(match needs {
            Needs::Key(id) => Event::Load(id, answer),
            Needs::Manifest => Event::Renew(answer),
        });
        let _ = answered.await;
    }

    /// Reads the manifest and unwraps every key again, now. For an operator's button: the keyring does so by itself.
    ///
    /// # Errors
    /// Why the manifest could not be read or verified; the keyring goes on with the one that it has.
    pub async fn refresh(&self) -> Result<(), Arc<RingError>> {
        let Some(refresher) = self.refresher() else {
            return Ok(());
        };
        if !refresher.is_here() {
            return Err(Arc::new(RingError::Stopped));
        }
        let (answer, answered) = oneshot::channel();
        refresher.send(Event::Refresh(answer));
        answered
            .await
            .unwrap_or_else(|_| Err(Arc::new(RingError::Stopped)))
    }
}

impl MissingKey for OpenError {
    fn needs(&self) -> Option<Needs> {
        match self {
            Self::KeyUnavailable(id) => Some(Needs::Key(*id)),
            Self::UnknownKey(_) => Some(Needs::Manifest),
            _ => None,
        }
    }
}

impl MissingKey for OpenRowError {
    fn needs(&self) -> Option<Needs> {
        self.cause().needs()
    }
}

impl MissingKey for SealError {
    fn needs(&self) -> Option<Needs> {
        match self {
            Self::KeyUnavailable(id) => Some(Needs::Key(*id)),
            Self::RingExpired | Self::KeyExpired(_) => Some(Needs::Manifest),
            Self::Index(error) => error.needs(),
            Self::Subject(error) => error.needs(),
            _ => None,
        }
    }
}

impl MissingKey for IndexError {
    fn needs(&self) -> Option<Needs> {
        match self {
            Self::KeyUnavailable(id) => Some(Needs::Key(*id)),
            Self::RingExpired | Self::KeyExpired(_) => Some(Needs::Manifest),
            _ => None,
        }
    }
}

impl MissingKey for UidError {
    fn needs(&self) -> Option<Needs> {
        match self {
            Self::KeyUnavailable(id) => Some(Needs::Key(*id)),
            _ => None,
        }
    }
}

impl MissingKey for SubjectError {
    fn needs(&self) -> Option<Needs> {
        match self {
            Self::KeyUnavailable(id) => Some(Needs::Key(*id)),
            Self::UnknownKey(_) | Self::KeyExpired(_) => Some(Needs::Manifest),
            _ => None,
        }
    }
}
