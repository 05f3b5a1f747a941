//! The provider.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use phield_core::{
    DerivedUnwrap, DerivedWrap, KekReference, KeyContext, KeyMaterial, KeyProvider, Passphrase,
    ProviderError, ProviderErrorKind, ProviderFuture, ProviderName,
};
use zeroize::Zeroizing;

use crate::counts::{Counters, Counts, count};
use crate::login::Access;
use crate::reference::KeyLabel;
use crate::token::TokenSession;
use crate::workers::{Sessions, Workers};
use crate::{Pkcs11Error, module};

/// The name in wraps, unless another one is given.
pub(crate) const PKCS11: ProviderName = ProviderName::from_static("pkcs11");

/// What a provider needs to reach an HSM.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pkcs11Settings {
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// The user PIN, of every token that is used. `user:password` at AWS CloudHSM.
    pub pin: Passphrase,
    /// The file of the PIN: read anew before a PIN is used once more, for somebody may have changed it meanwhile. None when it
    /// can be read only once, or there is none.
    pub pin_file: Option<PathBuf>,
    /// Sessions at each token, and threads that wait for the module: calls at a time.
    pub sessions: usize,
    /// How long a call may take, waiting for a session included.
    pub timeout: Duration,
}

impl Pkcs11Settings {
    /// 4 sessions, 10 seconds.
    #[must_use]
    pub fn new(module: impl Into<PathBuf>, pin: Passphrase) -> Self {
        Self {
            module: module.into(),
            pin,
            pin_file: None,
            sessions: 4,
            timeout: Duration::from_secs(10),
        }
    }
}

/// The provider `pkcs11`: derived wraps under keys that never leave an HSM, and index peppers that do not either.
///
/// It needs no particular async runtime: a few threads of its own wait for the HSM.
///
/// # Security
/// PKCS#11 logs in a process, not a provider: two providers with one module and token in one process share the login of
/// whichever was first.
pub struct Pkcs11Provider {
    name: ProviderName,
    workers: Workers,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    access: Access,
    counters: Counters,
}

/// How often a call is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tries {
    One,
    Two,
}

/// A key that keeps to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyReport {
    /// Which.
    pub key: KeyLabel,
    /// Whether the HSM says that it was made inside and could never be taken out; `None` where it does not say. An
    /// imported key was known outside once.
    pub born_inside: Option<bool>,
    /// Whether the HSM says that nobody can change what it may do, or make a copy that may do more (`CKA_MODIFIABLE` and
    /// `CKA_COPYABLE` are false); `None` where it does not say both. A key that can be changed does for its owner what this
    /// check forbids: it could be let to derive keys, and come back.
    pub fixed: Option<bool>,
}

impl Pkcs11Provider {
    /// A provider. Nothing is loaded and nobody logged in before the first call.
    #[must_use]
    pub fn new(settings: Pkcs11Settings) -> Self {
        let Pkcs11Settings {
            module,
            pin,
            pin_file,
            sessions,
            timeout,
        } = settings;
        let shared = Shared {
            access: Access {
                module,
                pin: Arc::new(pin),
                pin_file,
                timeout,
                logins: Mutex::default(),
            },
            counters: Counters::default(),
        };
        Self {
            name: PKCS11,
            workers: Workers::new(sessions.max(1), timeout),
            shared: Arc::new(shared),
        }
    }

    /// The same under another name: for a second HSM beside the first.
    #[must_use]
    pub fn with_name(mut self, name: ProviderName) -> Self {
        self.name = name;
        self
    }

    /// Calls so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }

    /// Finds a key and checks that it can do nothing but sign, and never comes out.
    ///
    /// # Errors
    /// See [`Pkcs11Error`].
    pub async fn check_key(&self, reference: &KekReference) -> Result<KeyReport, Pkcs11Error> {
        self.report(reference, Tries::Two, TokenSession::inspect).await
    }

    /// The key creation ceremony: makes a key in the HSM with the attributes that [`check_key`](Self::check_key) asks for,
    /// and checks it. Nothing is left of a key that fails the check.
    ///
    /// # Errors
    /// [`Pkcs11Error::KeyExists`] when the token has an object of this label; see [`Pkcs11Error`].
    pub async fn create_key(&self, reference: &KekReference) -> Result<KeyReport, Pkcs11Error> {
        // Once: after a failure nobody knows what was made, and a second try would find it there.
        self.report(reference, Tries::One, TokenSession::create).await
    }

    async fn report(
        &self,
        reference: &KekReference,
        tries: Tries,
        act: impl Fn(&mut TokenSession, &KeyLabel, &Access) -> Result<KeyReport, Pkcs11Error> + Send + 'static,
    ) -> Result<KeyReport, Pkcs11Error> {
        let key = KeyLabel::parse(reference)?;
        self.call(&key, tries, act).await
    }

    async fn sign(&self, reference: &KekReference, message: &[u8]) -> Result<KeyMaterial, Pkcs11Error> {
        let key = KeyLabel::parse(reference)?;
        // It may be as good as an indexed value.
        let message = Zeroizing::new(message.to_vec());
        self.call(&key, Tries::Two, move |session, key, access| {
            session.sign(key, &message, access)
        })
        .await
    }

    /// Does something with a key on one of the threads.
    async fn call<T: Send + 'static>(
        &self,
        key: &KeyLabel,
        tries: Tries,
        act: impl Fn(&mut TokenSession, &KeyLabel, &Access) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        count(&self.shared.counters.calls);
        let answer = match module::check_process() {
            Ok(()) => {
                let (shared, key) = (Arc::clone(&self.shared), key.clone());
                self.workers
                    .run(move |sessions| shared.tried(tries, sessions, &key, act))
                    .await
            }
            Err(error) => Err(error),
        };
        if answer.is_err() {
            count(&self.shared.counters.failures);
        }
        answer
    }
}

impl Shared {
    /// Does something, and once more with a new session where that may do better.
    fn tried<T>(
        &self,
        tries: Tries,
        sessions: &mut Sessions,
        key: &KeyLabel,
        act: impl Fn(&mut TokenSession, &KeyLabel, &Access) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        match self.in_session(sessions, key, &act) {
            Err(error) if tries == Tries::Two && error.may_pass() => {
                count(&self.counters.retries);
                self.in_session(sessions, key, &act)
            }
            answer => answer,
        }
    }

    /// Does something in the thread's session at the token. A session in which anything failed is never used again.
    fn in_session<T>(
        &self,
        sessions: &mut Sessions,
        key: &KeyLabel,
        act: impl Fn(&mut TokenSession, &KeyLabel, &Access) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let mut session = match sessions.remove(&key.token) {
            Some(session) => session,
            None => TokenSession::open(&self.access, &key.token)?,
        };
        let done = act(&mut session, key, &self.access)?;
        sessions.insert(key.token.clone(), session);
        Ok(done)
    }
}

impl KeyProvider for Pkcs11Provider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let random =
                |source| ProviderError::new(ProviderErrorKind::Unavailable, "wrap").with_source(source);
            let wrap = DerivedWrap::new(context).map_err(random)?;
            let mac = self.sign(kek, wrap.message()).await;
            Ok(wrap.seal(&mac.map_err(|error| error.of("wrap"))?, key))
        })
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        Box::pin(async move {
            let unwrap = DerivedUnwrap::new(context, wrapped)?;
            let mac = self.sign(kek, unwrap.message()).await;
            unwrap.open(&mac.map_err(|error| error.of("unwrap"))?)
        })
    }

    fn mac<'a>(&'a self, key: &'a KekReference, message: &'a [u8]) -> ProviderFuture<'a, [u8; 32]> {
        Box::pin(async move {
            let mac = self.sign(key, message).await;
            Ok(*mac.map_err(|error| error.of("mac"))?.expose_bytes())
        })
    }
}

impl fmt::Debug for Pkcs11Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Provider")
            .field("name", &self.name.as_str())
            .field("module", &self.shared.access.module)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
