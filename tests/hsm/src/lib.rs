//! What the tests on HSM tokens share: a provider of a token, and a client of our own beside it that makes bad keys and
//! breaks sessions.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use phield::pkcs11::{Pkcs11Provider, Pkcs11Settings};
use phield::{KekReference, KeyContext, KeyId, KeyUse, Passphrase, RingName, Suite};
use phield_testkit::hsm::{TestToken, TokenKind};
pub use pollster::block_on;

/// A reference to a key of the token.
///
/// # Panics
/// When `object` is no printable ASCII.
#[must_use]
pub fn reference(object: &str) -> KekReference {
    KekReference::new(format!("{}/{object}", TestToken::LABEL)).expect("labels of tests are ASCII")
}

/// What a provider of the token needs.
///
/// kryoptic 1.5.4 reads its state under one lock twice in a call (`C_SignInit`); a call of another thread that writes
/// (`C_Login`, `C_Logout`, `C_OpenSession`, `C_CloseAllSessions`) and comes between the two waits for the first, and that
/// for it. Both stand still for ever, so it has one session here, and nobody beside it.
#[must_use]
pub fn settings(token: &TestToken) -> Pkcs11Settings {
    let mut settings = Pkcs11Settings::new(token.module(), Passphrase::new(TestToken::PIN.to_owned()));
    if token.kind() == TokenKind::Kryoptic {
        settings.sessions = 1;
    }
    settings
}

/// A provider of the token.
#[must_use]
pub fn provider(token: &TestToken) -> Pkcs11Provider {
    Pkcs11Provider::new(settings(token))
}

/// The module of `tests/hsm/modules/hang`, in front of that of the token: it hangs or refuses when files in the token's folder
/// say so.
#[must_use]
pub fn hanging_module(token: &TestToken) -> PathBuf {
    token.close_all_module().with_file_name("libhang_pkcs11.so")
}

/// A provider of the token, and a key-encryption key `kek` that it made.
///
/// # Panics
/// When the token makes none.
#[must_use]
pub fn provider_with_kek(token: &TestToken) -> Pkcs11Provider {
    let provider = provider(token);
    block_on(provider.create_key(&reference("kek"))).expect("the token makes a key");
    provider
}

/// A context to wrap under.
#[must_use]
pub fn context() -> KeyContext {
    const ID: KeyId = KeyId::new(7).unwrap();
    let mut context = KeyContext::new(RingName::from_static("hsm-test"), ID, KeyUse::Data);
    context.suite = Some(Suite::Aes256Gcm);
    context
}

/// A client of the token beside the provider, in the same process.
#[derive(Debug)]
pub struct Client {
    context: Pkcs11,
    close_all: Pkcs11,
    slot: Slot,
}

impl Client {
    /// Opens the module.
    ///
    /// # Panics
    /// When it does not open, or has no token of the label.
    #[must_use]
    pub fn new(token: &TestToken) -> Self {
        let context = Pkcs11::new(token.module()).expect("the module loads");
        // The provider may have been first.
        let _ = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slots = context
            .get_slots_with_token()
            .expect("the module lists its slots");
        let labelled = |slot: &Slot| {
            let info = context.get_token_info(*slot);
            info.is_ok_and(|info| info.label() == TestToken::LABEL)
        };
        let slot = slots.into_iter().find(labelled).expect("the token is there");
        let close_all = Pkcs11::new(token.close_all_module()).expect("the module loads");
        Self {
            context,
            close_all,
            slot,
        }
    }

    /// A session, not logged in unless the process is.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn session(&self) -> Session {
        self.context.open_rw_session(self.slot).expect("a session")
    }

    /// A session that is logged in.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn logged_in(&self) -> Session {
        let session = self.session();
        let _ = session.login(UserType::User, Some(&AuthPin::from(TestToken::PIN.to_owned())));
        session
    }

    /// Tries PINs that are wrong.
    pub fn wrong_pins(&self, times: usize) {
        let session = self.session();
        for _ in 0..times {
            let _ = session.login(UserType::User, Some(&AuthPin::from("wrong-pin-4711".to_owned())));
        }
    }

    /// Logs the whole process out, if it is in.
    pub fn log_out(&self) {
        let _ = self.session().logout();
    }

    /// Closes every session of the process at the token (`C_CloseAllSessions`).
    ///
    /// # Panics
    /// When it does not.
    pub fn close_all_sessions(&self) {
        let closed = self
            .close_all
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        closed.expect("sessions can be closed");
    }

    /// Ends the whole module for this process (`C_Finalize`). No call may be under way.
    ///
    /// # Panics
    /// When it does not.
    pub fn finalize(self) {
        self.context.finalize().expect("the module was initialised");
    }

    /// What the token says of itself: whether its PIN count is low, at its last try, locked.
    ///
    /// # Panics
    /// When it says nothing.
    #[must_use]
    pub fn pin_flags(&self) -> [bool; 3] {
        let info = self.context.get_token_info(self.slot).expect("the token answers");
        [
            info.user_pin_count_low(),
            info.user_pin_final_try(),
            info.user_pin_locked(),
        ]
    }

    /// Makes a key that is what phield asks for, but for what `changed` says.
    ///
    /// # Panics
    /// When the token does not make it.
    pub fn make_key(&self, label: &str, changed: &[Attribute]) {
        let mut template = template(label);
        template.push(Attribute::ValueLen(32.into()));
        let mut mechanism = Mechanism::GenericSecretKeyGen;
        for change in changed {
            if *change == Attribute::KeyType(KeyType::AES) {
                mechanism = Mechanism::AesKeyGen;
            }
            template.retain(|attribute| attribute.attribute_type() != change.attribute_type());
            template.push(change.clone());
        }
        let session = self.logged_in();
        session
            .generate_key(&mechanism, &template)
            .expect("the token makes the key");
    }

    /// Puts a key of known bytes into the token.
    ///
    /// # Panics
    /// When the token does not take it.
    pub fn import_key(&self, label: &str, bytes: [u8; 32]) {
        let mut template = template(label);
        template.push(Attribute::Value(bytes.to_vec()));
        let session = self.logged_in();
        session.create_object(&template).expect("the token takes the key");
    }

    /// Gives the token another user PIN.
    ///
    /// # Panics
    /// When the token does not take it.
    pub fn change_pin(&self, pin: &str) {
        let [old, new] = [TestToken::PIN, pin].map(|pin| AuthPin::from(pin.to_owned()));
        let changed = self.logged_in().set_pin(&old, &new);
        changed.expect("the token takes another PIN");
    }

    /// Removes every key of a label.
    ///
    /// # Panics
    /// When the token does not.
    pub fn remove_keys(&self, label: &str) {
        let session = self.logged_in();
        for key in find(&session, label) {
            session.destroy_object(key).expect("the token removes its keys");
        }
    }

    /// The one key of a label.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn key(&self, label: &str) -> ObjectHandle {
        let found = find(&self.logged_in(), label);
        found.into_iter().next().expect("the token has the key")
    }

    /// How many objects have a label.
    #[must_use]
    pub fn count(&self, label: &str) -> usize {
        find(&self.logged_in(), label).len()
    }
}

/// What phield asks of a key, but for its length.
fn template(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

fn find(session: &Session, label: &str) -> Vec<ObjectHandle> {
    let label = Attribute::Label(label.as_bytes().to_vec());
    session.find_objects(&[label]).expect("the token finds its keys")
}
