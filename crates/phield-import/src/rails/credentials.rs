//! `active_record_encryption` of an application's credentials, as a file.

use serde::Deserialize;
use zeroize::Zeroize;

use super::{RailsDigest, RailsKeys};

/// Why credentials were not read. It shows nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RailsCredentialsError {
    /// Not TOML of this shape.
    #[error(
        "not the credentials of Rails: TOML with `primary_key` (one, or a list), `deterministic_key` and \
         `key_derivation_salt` as in `active_record_encryption`, and `hash_digest` = \"sha256\" or \"sha1\" (both unless said)"
    )]
    Syntax,
    /// No key.
    #[error("these credentials name no key: give `primary_key`, `deterministic_key` or `keys`")]
    NoKey,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    primary_key: Option<OneOrMore>,
    deterministic_key: Option<String>,
    /// Of single attributes.
    #[serde(default)]
    keys: Vec<String>,
    key_derivation_salt: String,
    hash_digest: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Digest {
    Sha256,
    Sha1,
}

impl RailsKeys {
    /// The keys of a credentials file: TOML with the names of `bin/rails credentials:show`.
    ///
    /// ```toml
    /// primary_key = ["the newest", "an older one"]    # or one alone
    /// deterministic_key = "…"
    /// key_derivation_salt = "…"
    /// keys = ["the key: of an attribute"]             # if there are any
    /// hash_digest = "sha256"                          # or "sha1"; both are tried where it does not say
    /// ```
    ///
    /// # Errors
    /// See [`RailsCredentialsError`].
    pub fn from_credentials(toml: &str) -> Result<Self, RailsCredentialsError> {
        // The parser's own error quotes the line.
        let credentials: Credentials = toml::from_str(toml).map_err(|_| RailsCredentialsError::Syntax)?;
        let digests: &[_] = match credentials.hash_digest {
            None => &[RailsDigest::Sha256, RailsDigest::Sha1],
            Some(Digest::Sha256) => &[RailsDigest::Sha256],
            Some(Digest::Sha1) => &[RailsDigest::Sha1],
        };
        let mut keys = Self::new();
        for digest in digests {
            for secret in credentials.secrets() {
                keys = keys.with_key(secret, &credentials.key_derivation_salt, *digest);
            }
        }
        if keys.keys.is_empty() {
            return Err(RailsCredentialsError::NoKey);
        }
        Ok(keys)
    }
}

impl Credentials {
    fn secrets(&self) -> impl Iterator<Item = &String> {
        let primary = match &self.primary_key {
            None => &[],
            Some(OneOrMore::One(key)) => std::slice::from_ref(key),
            Some(OneOrMore::More(keys)) => keys.as_slice(),
        };
        primary.iter().chain(&self.deterministic_key).chain(&self.keys)
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        match &mut self.primary_key {
            None => {}
            Some(OneOrMore::One(key)) => key.zeroize(),
            Some(OneOrMore::More(keys)) => keys.zeroize(),
        }
        self.deterministic_key.zeroize();
        self.keys.zeroize();
        self.key_derivation_salt.zeroize();
    }
}
