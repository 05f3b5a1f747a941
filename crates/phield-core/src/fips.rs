//! The FIPS profile (format §9): what a build with the feature `fips` asks of its cryptographic module, and what it
//! refuses. Without the feature nothing here refuses anything.

use crate::config::ConfigError;
use crate::token::Suite;

/// Shortest passphrase that PBKDF2 of the module takes as an approved service: 112 bits, if they were random.
const MIN_PASSPHRASE: usize = 14;

/// The module runs in its FIPS mode. Asked before first use: where a ring is verified, generated or made for a test,
/// and where a passphrase is stretched.
pub(crate) fn check_module() -> Result<(), ConfigError> {
    #[cfg(feature = "fips")]
    aws_lc_rs::try_fips_mode().map_err(|_| ConfigError::NoFipsMode)?;
    Ok(())
}

/// Data keys are for AES-256-GCM alone.
pub(crate) fn check_suite(suite: Suite) -> Result<(), ConfigError> {
    match suite {
        Suite::XChaCha20Poly1305 => refuse(
            "a data key for XChaCha20-Poly1305: use AES-256-GCM, and re-seal what older keys sealed in a build \
             without the profile",
        ),
        Suite::Aes256Gcm => Ok(()),
    }
}

/// What the profile has instead is PBKDF2-HMAC-SHA-256.
pub(crate) fn check_argon2id() -> Result<(), ConfigError> {
    refuse("a key file stretched with Argon2id: make it anew with PBKDF2")
}

/// A short passphrase makes PBKDF2 a service that is not approved.
pub(crate) fn check_passphrase(passphrase: &[u8]) -> Result<(), ConfigError> {
    if passphrase.len() < MIN_PASSPHRASE {
        return refuse("a passphrase of less than 14 bytes: use a longer one");
    }
    Ok(())
}

fn refuse(what: &'static str) -> Result<(), ConfigError> {
    if cfg!(feature = "fips") {
        Err(ConfigError::NotFips(what))
    } else {
        Ok(())
    }
}
