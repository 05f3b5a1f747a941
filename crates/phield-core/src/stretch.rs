//! Stretching of low-entropy inputs: Argon2id and PBKDF2. For the passphrase of a key file (format §8.4) and for slow
//! indexes (§7). In the FIPS profile there is PBKDF2 alone, by the module.

use crate::config::ConfigError;
use crate::fips;
use crate::key::{FileKey, KeyMaterial};

/// How a passphrase is stretched: costs an attacker the same for every guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stretching {
    /// Argon2id (RFC 9106): memory in KiB, passes, lanes. Refused by the FIPS profile.
    Argon2id {
        /// Memory in KiB, 65 536 to 4 194 304.
        memory_kib: u32,
        /// Passes, 1 to 16.
        passes: u32,
        /// Lanes, 1 to 16.
        lanes: u8,
    },
    /// PBKDF2-HMAC-SHA-256 (SP 800-132), for the FIPS profile: iterations, 600 000 to 100 000 000.
    Pbkdf2 {
        /// Iterations.
        iterations: u32,
    },
}

impl Default for Stretching {
    /// Argon2id with 256 MiB, three passes, four lanes: about a second. In the FIPS profile PBKDF2 with 600 000
    /// iterations.
    fn default() -> Self {
        if cfg!(feature = "fips") {
            return Self::LEAST_PBKDF2;
        }
        Self::Argon2id {
            memory_kib: 262_144,
            passes: 3,
            lanes: 4,
        }
    }
}

impl Stretching {
    const LEAST_PBKDF2: Self = Self::Pbkdf2 { iterations: 600_000 };

    /// Argon2id with the least parameters that the format allows, for tests. In the FIPS profile PBKDF2, likewise.
    #[must_use]
    pub const fn minimal() -> Self {
        if cfg!(feature = "fips") {
            return Self::LEAST_PBKDF2;
        }
        Self::Argon2id {
            memory_kib: 65_536,
            passes: 1,
            lanes: 1,
        }
    }

    /// The FIPS profile and the bounds, checked before anything is allocated.
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if let Self::Argon2id { .. } = self {
            fips::check_argon2id()?;
        }
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
        fips::check_module()?;
        fips::check_passphrase(passphrase)?;
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

#[cfg(feature = "fips")]
pub(crate) use module::{argon2id, pbkdf2};
#[cfg(not(feature = "fips"))]
pub(crate) use rust_crypto::{argon2id, pbkdf2};

/// Both by RustCrypto.
#[cfg(not(feature = "fips"))]
mod rust_crypto {
    use argon2::{Algorithm, Argon2, Block, Params, Version};
    use sha2::Sha256;
    use zeroize::Zeroizing;

    use super::InvalidParameters;

    /// Argon2id, RFC 9106, version 0x13: memory in KiB, passes, lanes. The memory is wiped: its last blocks give the
    /// output.
    pub(crate) fn argon2id(
        input: &[u8],
        salt: &[u8; 16],
        [m, t, p]: [u32; 3],
        out: &mut [u8; 32],
    ) -> Result<(), InvalidParameters> {
        let params = Params::new(m, t, p, Some(out.len())).map_err(|_| InvalidParameters)?;
        let mut memory = Zeroizing::new(Vec::new());
        memory
            .try_reserve_exact(params.block_count())
            .map_err(|_| InvalidParameters)?;
        memory.resize(params.block_count(), Block::new());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(input, salt, out, memory.as_mut_slice())
            .map_err(|_| InvalidParameters)
    }

    /// PBKDF2-HMAC-SHA-256, RFC 8018, SP 800-132.
    pub(crate) fn pbkdf2(input: &[u8], salt: &[u8; 16], iterations: u32, out: &mut [u8; 32]) {
        pbkdf2::pbkdf2_hmac::<Sha256>(input, salt, iterations, out);
    }
}

/// By the FIPS module, which has PBKDF2 alone.
#[cfg(feature = "fips")]
mod module {
    use std::num::NonZeroU32;

    use aws_lc_rs::pbkdf2;

    use super::InvalidParameters;

    /// There is no Argon2id in the FIPS profile, whatever the parameters.
    pub(crate) fn argon2id(
        _: &[u8],
        _: &[u8; 16],
        _: [u32; 3],
        _: &mut [u8; 32],
    ) -> Result<(), InvalidParameters> {
        Err(InvalidParameters)
    }

    /// PBKDF2-HMAC-SHA-256, RFC 8018, SP 800-132. An approved service from 14 bytes of input and 1000 iterations on.
    pub(crate) fn pbkdf2(input: &[u8], salt: &[u8; 16], iterations: u32, out: &mut [u8; 32]) {
        // The format has no parameters with 0 iterations.
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, input, out);
    }
}
