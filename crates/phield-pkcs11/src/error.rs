//! What can go wrong with an HSM, and what it means for the ring. No error carries a PIN or what was computed.

use std::path::PathBuf;

use cryptoki::error::{Error, RvError};
use phield_core::{ProviderError, ProviderErrorKind};

use crate::reference::KeyLabel;

/// A call of the HSM failed; the message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The module cannot be loaded.
    #[error("{} is no PKCS#11 module that can be loaded: {reason}", path.display())]
    Module {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The process was forked after the module was in use.
    #[error(
        "the process was forked after it had used an HSM, and PKCS#11 does not survive that: fork first, or start a new \
         program"
    )]
    Forked,
    /// A wrong PIN. It is not tried a second time, for a token locks after a few.
    #[error(
        "the PIN of the token {0:?} is wrong; it is not tried again until the PIN file has another one, or the configuration is \
         loaded anew"
    )]
    PinIncorrect(String),
    /// One more wrong PIN would lock the token, and the PIN file has no other one than was tried before.
    #[error(
        "one more wrong PIN locks the token {0:?}, so it was not tried: log in by hand with the right one (`pkcs11-tool \
         --login --list-objects`), and put it into the PIN file"
    )]
    PinFinalTry(String),
    /// The PIN is locked.
    #[error(
        "the PIN of the token {0:?} is locked after too many wrong ones: its security officer unlocks it"
    )]
    PinLocked(String),
    /// The PIN has expired, or must be changed before it can be used.
    #[error("the PIN of the token {0:?} has expired: set a new one")]
    PinExpired(String),
    /// The token has no user PIN yet.
    #[error("the token {0:?} has no user PIN yet: its security officer sets one")]
    PinNotInitialized(String),
    /// No token has this label.
    #[error("there is no token {0:?}: is the HSM plugged in, reachable and initialised?")]
    NoToken(String),
    /// Several tokens have this label.
    #[error("several tokens are labelled {0:?}: which is meant is not known")]
    AmbiguousToken(String),
    /// A reference without a slash.
    #[error("the reference of an HSM key is token-label/object-label")]
    Reference,
    /// The token has no such key.
    #[error("the token {:?} has no secret key {:?}: `phield hsm create-key` makes one", .0.token, .0.object)]
    NoKey(KeyLabel),
    /// The token has such a key no longer: it was there before, in this process.
    #[error(
        "the secret key {:?} is gone from the token {:?}, where it was before: somebody has removed it", .0.object, .0.token
    )]
    KeyGone(KeyLabel),
    /// The token has several keys of this label.
    #[error("the token {:?} has several secret keys {:?}: which is meant is not known", .0.token, .0.object)]
    AmbiguousKey(KeyLabel),
    /// The token has an object of this label already.
    #[error("the token {:?} has an object {:?} already; nothing was made", .0.token, .0.object)]
    KeyExists(KeyLabel),
    /// The key is not what a key-encryption key has to be.
    #[error("the key {key} is refused: {rule}")]
    Attribute {
        /// Which.
        key: KeyLabel,
        /// What it breaks.
        rule: &'static str,
    },
    /// The token does not compute HMAC-SHA-256 with this key.
    #[error("the key {key} does not serve HMAC-SHA-256: {reason}")]
    Mechanism {
        /// Which.
        key: KeyLabel,
        /// What the token says.
        reason: String,
    },
    /// Somebody logged this process out of the token while a key was being looked up.
    #[error("this process was logged out of the token {0:?}")]
    LoggedOut(String),
    /// The device, the module or a session failed.
    #[error("the HSM failed: {0}")]
    Device(String),
    /// The HSM did not answer in time.
    #[error("the HSM did not answer within its time")]
    TimedOut,
    /// Calls of the module have not come back for a long time, and as many threads as may wait for them do.
    #[error(
        "calls of the HSM's module do not come back, and nothing may take their place: if the HSM works, start the process \
         anew"
    )]
    Stuck,
    /// As many calls wait for the HSM as may.
    #[error("too many calls wait for the HSM")]
    Busy,
}

impl Pkcs11Error {
    /// What it means for the ring.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        match self {
            Self::Module { .. }
            | Self::Forked
            | Self::PinIncorrect(_)
            | Self::PinFinalTry(_)
            | Self::PinLocked(_)
            | Self::PinExpired(_)
            | Self::PinNotInitialized(_)
            | Self::KeyGone(_)
            | Self::AmbiguousKey(_)
            | Self::KeyExists(_)
            | Self::Attribute { .. }
            | Self::Mechanism { .. } => ProviderErrorKind::Refused,
            Self::Reference | Self::NoKey(_) => ProviderErrorKind::UnknownKek,
            // A copy of a token that is plugged in takes no key from whoever runs; nobody starts with it, though.
            Self::NoToken(_)
            | Self::AmbiguousToken(_)
            | Self::LoggedOut(_)
            | Self::Device(_)
            | Self::TimedOut
            | Self::Stuck
            | Self::Busy => ProviderErrorKind::Unavailable,
        }
    }

    /// Whether a new session may do better.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NoToken(_) | Self::NoKey(_) | Self::KeyGone(_) | Self::LoggedOut(_) | Self::Device(_)
        )
    }

    pub(crate) fn of(self, call: &'static str) -> ProviderError {
        ProviderError::new(self.kind(), call).with_source(self)
    }

    /// Why a login failed; `None` when somebody else has logged in first.
    pub(crate) fn login(error: &Error, token: &str) -> Option<Self> {
        let token = token.to_owned();
        let Error::Pkcs11(code, _) = error else {
            return Some(error.into());
        };
        match code {
            RvError::UserAlreadyLoggedIn => None,
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                Some(Self::PinIncorrect(token))
            }
            RvError::PinLocked => Some(Self::PinLocked(token)),
            RvError::PinExpired => Some(Self::PinExpired(token)),
            RvError::UserPinNotInitialized => Some(Self::PinNotInitialized(token)),
            _ => Some(error.into()),
        }
    }

    /// Whether a token may have refused the template of a key for something that it does not know.
    pub(crate) fn is_of_template(error: &Error) -> bool {
        matches!(
            error,
            Error::Pkcs11(
                RvError::AttributeTypeInvalid
                    | RvError::AttributeValueInvalid
                    | RvError::AttributeReadOnly
                    | RvError::TemplateInconsistent
                    | RvError::ActionProhibited,
                _
            )
        )
    }

    /// Why signing failed.
    pub(crate) fn sign(error: &Error, key: &KeyLabel) -> Self {
        match error {
            Error::Pkcs11(
                RvError::KeyFunctionNotPermitted
                | RvError::KeyTypeInconsistent
                | RvError::KeySizeRange
                | RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::ActionProhibited
                | RvError::FunctionRejected
                | RvError::FunctionNotSupported,
                _,
            )
            | Error::NullFunctionPointer => Self::Mechanism {
                key: key.clone(),
                reason: error.to_string(),
            },
            _ => error.into(),
        }
    }
}

impl From<&Error> for Pkcs11Error {
    fn from(error: &Error) -> Self {
        Self::Device(error.to_string())
    }
}

impl From<Error> for Pkcs11Error {
    fn from(error: Error) -> Self {
        (&error).into()
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn login(code: RvError) -> Option<(ProviderErrorKind, bool)> {
        let error = Pkcs11Error::login(&Error::Pkcs11(code, Function::Login), "phield")?;
        Some((error.kind(), error.may_pass()))
    }

    /// What a token says of a PIN is final; everything else may pass. Not every token in software says all of it.
    #[test]
    fn classes_of_logins() {
        use RvError::{
            DeviceError, DeviceRemoved, GeneralError, PinExpired, PinIncorrect, PinInvalid, PinLenRange,
            PinLocked, SessionHandleInvalid, TokenNotPresent, UserAlreadyLoggedIn, UserPinNotInitialized,
        };
        for code in [
            PinIncorrect,
            PinInvalid,
            PinLenRange,
            PinLocked,
            PinExpired,
            UserPinNotInitialized,
        ] {
            assert_eq!(login(code), Some((ProviderErrorKind::Refused, false)), "{code}");
        }
        for code in [
            DeviceError,
            DeviceRemoved,
            GeneralError,
            SessionHandleInvalid,
            TokenNotPresent,
        ] {
            assert_eq!(
                login(code),
                Some((ProviderErrorKind::Unavailable, true)),
                "{code}"
            );
        }
        assert_eq!(login(UserAlreadyLoggedIn), None);
    }

    #[test]
    fn classes_of_signing() {
        let key = KeyLabel {
            token: "phield".to_owned(),
            object: "kek".to_owned(),
        };
        let kind = |code| Pkcs11Error::sign(&Error::Pkcs11(code, Function::SignInit), &key).kind();
        assert_eq!(kind(RvError::KeyFunctionNotPermitted), ProviderErrorKind::Refused);
        assert_eq!(kind(RvError::MechanismInvalid), ProviderErrorKind::Refused);
        assert_eq!(kind(RvError::ObjectHandleInvalid), ProviderErrorKind::Unavailable);
        assert_eq!(kind(RvError::UserNotLoggedIn), ProviderErrorKind::Unavailable);
    }
}
