//! A session of one thread at one token, logged in, with the keys that were found and checked in it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use phield_core::KeyMaterial;
use zeroize::Zeroize as _;

use crate::login::{Access, At, Login, is_logged_in};
use crate::provider::KeyReport;
use crate::reference::KeyLabel;
use crate::{Pkcs11Error, attributes, module};

/// Keys that this process has found and checked, at the module of this path.
static FOUND: LazyLock<Mutex<HashSet<(PathBuf, KeyLabel)>>> = LazyLock::new(Mutex::default);

fn found() -> MutexGuard<'static, HashSet<(PathBuf, KeyLabel)>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session.
pub(crate) struct TokenSession {
    context: Pkcs11,
    slot: Slot,
    session: Session,
    token: String,
    login: Arc<Login>,
    keys: HashMap<String, ObjectHandle>,
}

impl TokenSession {
    /// Opens a session that may read and write, even for reading: CloudHSM has no others.
    pub(crate) fn open(access: &Access, token: &str) -> Result<Self, Pkcs11Error> {
        let context = module::open(&access.module, access.timeout)?;
        let slot = slot(&context, token)?;
        let session = context.open_rw_session(slot)?;
        Ok(Self {
            context,
            slot,
            session,
            token: token.to_owned(),
            login: access.login(token),
            keys: HashMap::new(),
        })
    }

    /// HMAC-SHA-256 of a message.
    pub(crate) fn sign(
        &mut self,
        key: &KeyLabel,
        message: &[u8],
        access: &Access,
    ) -> Result<KeyMaterial, Pkcs11Error> {
        let handle = match self.keys.get(&key.object) {
            Some(handle) => *handle,
            None => self.find(key, access)?,
        };
        let signed = self.session.sign(&Mechanism::Sha256Hmac, handle, message);
        let mut mac = signed.map_err(|error| Pkcs11Error::sign(&error, key))?;
        let key = <&[u8; 32]>::try_from(mac.as_slice())
            .map(|bytes| KeyMaterial::init_with(|key| key.copy_from_slice(bytes)));
        let key = key.map_err(|_| Pkcs11Error::Device("an HMAC-SHA-256 has not 32 bytes".to_owned()));
        mac.zeroize();
        key
    }

    /// Finds and checks a key, anew.
    pub(crate) fn inspect(&mut self, key: &KeyLabel, access: &Access) -> Result<KeyReport, Pkcs11Error> {
        let handle = self.find(key, access)?;
        attributes::report(&self.session, handle, key)
    }

    /// Makes a key, and checks what was made.
    pub(crate) fn create(&mut self, key: &KeyLabel, access: &Access) -> Result<KeyReport, Pkcs11Error> {
        let label = Attribute::Label(key.object.as_bytes().to_vec());
        // Whatever has the label: a certificate, too, would confuse somebody one day.
        if !self
            .logged_in(access, |session| Ok(session.find_objects(&[label])?))?
            .is_empty()
        {
            return Err(Pkcs11Error::KeyExists(key.clone()));
        }
        let (made, fixed) = self.generate(key)?;
        let checked = self.inspect(key, access).and_then(|report| match report.fixed {
            Some(false) if fixed => Err(attributes::not_fixed(key)),
            _ => Ok(report),
        });
        if checked.is_err() {
            // Nothing is left of a key that is not what was asked for, or came second.
            self.session.destroy_object(made)?;
        }
        checked
    }

    /// Makes a key that nobody can change or copy; without that where the token does not know of it. Gives whether it does.
    fn generate(&self, key: &KeyLabel) -> Result<(ObjectHandle, bool), Pkcs11Error> {
        for optional in attributes::OPTIONAL {
            let template = attributes::template(key, optional);
            match self
                .session
                .generate_key(&Mechanism::GenericSecretKeyGen, &template)
            {
                Err(error) if !optional.is_empty() && Pkcs11Error::is_of_template(&error) => {}
                made => return Ok((made?, optional == attributes::OPTIONAL[0])),
            }
        }
        Err(Pkcs11Error::Device("it makes no key".to_owned()))
    }

    /// Finds the one key of this label and checks its attributes.
    fn find(&mut self, key: &KeyLabel, access: &Access) -> Result<ObjectHandle, Pkcs11Error> {
        let handle = self.logged_in(access, |session| {
            let found = session.find_objects(&attributes::search(key))?;
            if let &[handle] = found.as_slice() {
                attributes::check(session, handle, key)?;
            }
            Ok(found)
        })?;
        match handle.as_slice() {
            [] if found().contains(&(access.module.clone(), key.clone())) => {
                Err(Pkcs11Error::KeyGone(key.clone()))
            }
            [] => Err(Pkcs11Error::NoKey(key.clone())),
            &[handle] => {
                found().insert((access.module.clone(), key.clone()));
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
        access: &Access,
        act: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let pass = self.login.enter(access.timeout)?;
        let at = At {
            context: &self.context,
            slot: self.slot,
            session: &self.session,
            token: &self.token,
        };
        self.login.log_in(access, &at, &pass)?;
        let done = act(&self.session);
        if is_logged_in(&self.session)? && pass.is_valid() {
            done
        } else {
            Err(Pkcs11Error::LoggedOut(self.token.clone()))
        }
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
