//! A session of one thread at one token, logged in, with the keys that were found and checked in it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use phield_core::KeyMaterial;
use zeroize::Zeroize as _;

use crate::reference::KeyLabel;
use crate::{Pkcs11Error, attributes, module};

/// What is known of the login at one token, by all threads of a provider.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// What the token said about the PIN: it is asked once.
    refused: Option<Pkcs11Error>,
    /// Whether the PIN has worked.
    worked: bool,
}

/// The logins at every token.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<HashMap<String, Arc<Mutex<Login>>>>);

impl Logins {
    fn at(&self, token: &str) -> Arc<Mutex<Login>> {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(logins.entry(token.to_owned()).or_default())
    }
}

/// A session.
pub(crate) struct TokenSession {
    context: Pkcs11,
    slot: Slot,
    session: Session,
    token: String,
    login: Arc<Mutex<Login>>,
    keys: HashMap<String, ObjectHandle>,
}

impl TokenSession {
    /// Opens a session that may read and write, even for reading: CloudHSM has no others.
    pub(crate) fn open(module: &Path, token: &str, logins: &Logins) -> Result<Self, Pkcs11Error> {
        let context = module::open(module)?;
        let slot = slot(&context, token)?;
        let session = context.open_rw_session(slot)?;
        Ok(Self {
            context,
            slot,
            session,
            token: token.to_owned(),
            login: logins.at(token),
            keys: HashMap::new(),
        })
    }

    /// HMAC-SHA-256 of a message.
    pub(crate) fn sign(
        &mut self,
        key: &KeyLabel,
        message: &[u8],
        pin: &AuthPin,
    ) -> Result<KeyMaterial, Pkcs11Error> {
        let handle = match self.keys.get(&key.object) {
            Some(handle) => *handle,
            None => self.find(key, pin)?,
        };
        let signed = self.session.sign(&Mechanism::Sha256Hmac, handle, message);
        let mut mac = signed.map_err(|error| Pkcs11Error::sign(&error, key))?;
        let key = <&[u8; 32]>::try_from(mac.as_slice())
            .map(|bytes| KeyMaterial::init_with(|key| key.copy_from_slice(bytes)));
        let key = key.map_err(|_| Pkcs11Error::Device("an HMAC-SHA-256 has not 32 bytes".to_owned()));
        mac.zeroize();
        key
    }

    /// Finds and checks a key, anew. Gives whether it was made in the HSM.
    pub(crate) fn inspect(&mut self, key: &KeyLabel, pin: &AuthPin) -> Result<Option<bool>, Pkcs11Error> {
        let handle = self.find(key, pin)?;
        attributes::born_inside(&self.session, handle)
    }

    /// Makes a key, and checks what was made.
    pub(crate) fn create(&mut self, key: &KeyLabel, pin: &AuthPin) -> Result<Option<bool>, Pkcs11Error> {
        let label = Attribute::Label(key.object.as_bytes().to_vec());
        // Whatever has the label: a certificate, too, would confuse somebody one day.
        if !self
            .logged_in(pin, |session| Ok(session.find_objects(&[label])?))?
            .is_empty()
        {
            return Err(Pkcs11Error::KeyExists(key.clone()));
        }
        let template = attributes::template(key);
        let made = self
            .session
            .generate_key(&Mechanism::GenericSecretKeyGen, &template)?;
        let checked = self.inspect(key, pin);
        if checked.is_err() {
            // Nothing is left of a key that is not what was asked for, or came second.
            self.session.destroy_object(made)?;
        }
        checked
    }

    /// Finds the one key of this label and checks its attributes.
    fn find(&mut self, key: &KeyLabel, pin: &AuthPin) -> Result<ObjectHandle, Pkcs11Error> {
        let handle = self.logged_in(pin, |session| {
            let found = session.find_objects(&attributes::search(key))?;
            if let &[handle] = found.as_slice() {
                attributes::check(session, handle, key)?;
            }
            Ok(found)
        })?;
        match handle.as_slice() {
            [] => Err(Pkcs11Error::NoKey(key.clone())),
            &[handle] => {
                self.keys.insert(key.object.clone(), handle);
                Ok(handle)
            }
            _ => Err(Pkcs11Error::AmbiguousKey(key.clone())),
        }
    }

    /// Does something while logged in. A token hides its keys from who is not, as if there were none: so it is looked
    /// afterwards whether somebody has logged this process out meanwhile, and no other thread logs it in before.
    fn logged_in<T>(
        &self,
        pin: &AuthPin,
        act: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        self.log_in(pin, &mut login)?;
        let done = act(&self.session);
        if self.is_logged_in()? {
            done
        } else {
            Err(Pkcs11Error::LoggedOut(self.token.clone()))
        }
    }

    fn is_logged_in(&self) -> Result<bool, Pkcs11Error> {
        let state = self.session.get_session_info()?.session_state();
        Ok(matches!(state, SessionState::RwUser | SessionState::RoUser))
    }

    /// Logs the process in, if it is not. A PIN that was refused is not tried again: tokens lock.
    fn log_in(&self, pin: &AuthPin, login: &mut Login) -> Result<(), Pkcs11Error> {
        if let Some(refused) = &login.refused {
            return Err(refused.clone());
        }
        if self.is_logged_in()? {
            return Ok(());
        }
        let info = self.context.get_token_info(self.slot)?;
        if info.user_pin_locked() {
            return Err(Pkcs11Error::PinLocked(self.token.clone()));
        }
        if info.user_pin_final_try() && !login.worked {
            return Err(Pkcs11Error::PinFinalTry(self.token.clone()));
        }
        let Err(error) = self.session.login(UserType::User, Some(pin)) else {
            login.worked = true;
            return Ok(());
        };
        let Some(error) = Pkcs11Error::login(&error, &self.token) else {
            return Ok(());
        };
        if !error.may_pass() {
            login.refused = Some(error.clone());
        }
        Err(error)
    }
}

/// The slot of the token with this label.
fn slot(context: &Pkcs11, token: &str) -> Result<Slot, Pkcs11Error> {
    let mut failed = None;
    let mut found = Vec::new();
    for slot in context.get_slots_with_token()? {
        match context.get_token_info(slot) {
            Ok(info) if info.token_initialized() && info.label() == token => found.push(slot),
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    match (found.as_slice(), failed) {
        (&[slot], _) => Ok(slot),
        ([], Some(error)) => Err(error.into()),
        ([], None) => Err(Pkcs11Error::NoToken(token.to_owned())),
        _ => Err(Pkcs11Error::AmbiguousToken(token.to_owned())),
    }
}
