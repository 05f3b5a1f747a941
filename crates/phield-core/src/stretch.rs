//! Stretching of low-entropy inputs: Argon2id and PBKDF2. For the passphrase of a key file (format §8.4) and for slow
//! indexes (§7).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::config::ConfigError;
use crate::key::{FileKey, KeyMaterial};

/// How a passphrase is stretched: costs an attacker the same for every guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stretching {
    /// Argon2id (RFC 9106): memory in KiB, passes, lanes.
    Argon2id {
        /// Memory in KiB, 65 536 to 4 194 304.
        memory_kib: u32,
        /// Passes, 1 to 16.
        passes: u32,
        /// Lanes, 1 to 16.
        lanes: u8,
    },
    /// PBKDF2-HMAC-SHA-256 (SP 800-132), for FIPS profiles: iterations, 600 000 to 100 000 000.
    Pbkdf2 {
        /// Iterations.
        iterations: u32,
    },
}

impl Default for Stretching {
    /// Argon2id with 256 MiB, three passes, four lanes: about a second.
    fn default() -> Self {
        Self::Argon2id {
            memory_kib: 262_144,
            passes: 3,
            lanes: 4,
        }
    }
}

impl Stretching {
    /// Argon2id with the least parameters that the format allows, for tests.
    #[must_use]
    pub const fn minimal() -> Self {
        Self::Argon2id {
            memory_kib: 65_536,
            passes: 1,
            lanes: 1,
        }
    }

    /// Bounds, checked before anything is allocated.
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        let good = match self {
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                (65_536..=4_194_304).contains(&memory_kib)
                    && (1..=16).contains(&passes)
                    && (1..=16).contains(&lanes)
            }
            Self::Pbkdf2 { iterations } => (600_000..=100_000_000).contains(&iterations),
        };
        if good {
            Ok(self)
        } else {
            Err(ConfigError::Stretching)
        }
    }

    /// `M = Argon2id(passphrase, salt, 32)` or `PBKDF2-HMAC-SHA-256(passphrase, salt, t, 32)`
    pub(crate) fn stretch(self, passphrase: &[u8], salt: &[u8; 16]) -> Result<FileKey, ConfigError> {
        let key = KeyMaterial::try_init_with(|key| match self {
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => argon2id(passphrase, salt, [memory_kib, passes, u32::from(lanes)], key),
            Self::Pbkdf2 { iterations } => {
                pbkdf2(passphrase, salt, iterations, key);
                Ok(())
            }
        });
        key.map(|key| FileKey::new(key.expose_bytes()))
            .map_err(|InvalidParameters| ConfigError::Stretching)
    }
}

/// Parameters that Argon2id does not have, or memory that the system does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidParameters;

/// Argon2id, RFC 9106, version 0x13: memory in KiB, passes, lanes. The memory is wiped: its last blocks give the output.
pub(crate) fn argon2id(
    input: &[u8],
    salt: &[u8; 16],
    [m, t, p]: [u32; 3],
    out: &mut [u8; 32],
) -> Result<(), InvalidParameters> {
    let params = Params::new(m, t, p, Some(out.len())).map_err(|_| InvalidParameters)?;
    let mut memory = Zeroizing::new(vec![Block::new(); params.block_count()]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(input, salt, out, memory.as_mut_slice())
        .map_err(|_| InvalidParameters)
}

/// PBKDF2-HMAC-SHA-256, RFC 8018, SP 800-132.
pub(crate) fn pbkdf2(input: &[u8], salt: &[u8; 16], iterations: u32, out: &mut [u8; 32]) {
    pbkdf2::pbkdf2_hmac::<Sha256>(input, salt, iterations, out);
}
