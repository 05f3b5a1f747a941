//! Algorithms of blind indexes (format §7): what one value costs, and the MACs.
//!
//! ```text
//! fast :  t = HMAC(K_index, 0x00 ‖ LP(v1, …, vn))                             "hmac-sha256"
//! slow :  h = Argon2id(HMAC(K_index, 0x01 ‖ LP(v1..vn)), salt s, m KiB, t, p, 32)  "argon2id-m65536-t3-p1"
//!         h = PBKDF2-HMAC-SHA-256(the same input, s, N, 32)                   "pbkdf2-sha256-i600000"
//!         t = HMAC(K_index, 0x02 ‖ h)
//! device: t = KDF(pepper, "phield.v1.index-device", LP(SHA-256(ICTX), SHA-256(LP(v1..vn))), 32)   "device-hmac-sha256"
//! ```

use std::borrow::Cow;
use std::fmt;

use crate::kdf::sha256;
use crate::key::{IndexKey, KeyMaterial};
use crate::lp;
use crate::schedule;
use crate::stretch;
use crate::wipe::Wiped;
use zeroize::Zeroizing;

/// How the values of a blind index are computed: part of its definition, and of its key.
///
/// A fast index costs an attacker who has stolen database **and** pepper next to nothing a guess. A slow one costs him,
/// and every search, the memory and time of its parameters: for identifiers of few possible values, such as social
/// security numbers. A device index cannot be guessed at all without calls to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IndexAlgorithm {
    /// `hmac-sha256`: one HMAC, about a microsecond.
    HmacSha256,
    /// `argon2id-m<KiB>-t<passes>-p<lanes>` (RFC 9106): slow.
    #[non_exhaustive]
    Argon2id {
        /// Memory in KiB, at least 65 536.
        memory_kib: u32,
        /// Passes, at least 3.
        passes: u32,
        /// Lanes, at least 1.
        lanes: u32,
    },
    /// `pbkdf2-sha256-i<iterations>` (RFC 8018, SP 800-132): slow, for the FIPS profile.
    #[non_exhaustive]
    Pbkdf2 {
        /// Iterations, at least 600 000.
        iterations: u32,
    },
    /// `device-hmac-sha256`: one MAC in the KMS or HSM that holds the pepper.
    ///
    /// # Security
    /// The device receives an unkeyed hash of the value. Where values are few, that is as good as the value: treat it
    /// as PHI sent there.
    DeviceHmacSha256,
}

impl IndexAlgorithm {
    /// Argon2id with this much memory in KiB (65 536 to 4 194 304), passes (3 to 1024) and lanes (1 to 255).
    ///
    /// # Panics
    /// Outside these bounds, and in builds with the feature `fips`; in a `const` that is a compile error.
    #[must_use]
    #[allow(clippy::assertions_on_constants, reason = "the constant is a feature")]
    pub const fn argon2id(memory_kib: u32, passes: u32, lanes: u32) -> Self {
        assert!(
            !cfg!(feature = "fips"),
            "the FIPS profile has no Argon2id: use PBKDF2"
        );
        assert!(
            memory_kib >= 65_536 && memory_kib <= 4_194_304,
            "Argon2id takes 65536 to 4194304 KiB"
        );
        assert!(passes >= 3 && passes <= 1024, "Argon2id takes 3 to 1024 passes");
        assert!(lanes >= 1 && lanes <= 255, "Argon2id takes 1 to 255 lanes");
        Self::Argon2id {
            memory_kib,
            passes,
            lanes,
        }
    }

    /// PBKDF2-HMAC-SHA-256 with this many iterations, 600 000 to 100 000 000.
    ///
    /// # Panics
    /// Outside these bounds; in a `const` that is a compile error.
    #[must_use]
    pub const fn pbkdf2(iterations: u32) -> Self {
        assert!(
            iterations >= 600_000 && iterations <= 100_000_000,
            "PBKDF2 takes 600000 to 100000000 iterations"
        );
        Self::Pbkdf2 { iterations }
    }

    /// The id, part of the index key.
    #[must_use]
    pub fn id(self) -> Cow<'static, str> {
        match self {
            Self::HmacSha256 => "hmac-sha256".into(),
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => format!("argon2id-m{memory_kib}-t{passes}-p{lanes}").into(),
            Self::Pbkdf2 { iterations } => format!("pbkdf2-sha256-i{iterations}").into(),
            Self::DeviceHmacSha256 => "device-hmac-sha256".into(),
        }
    }

    /// The algorithm with this id; `None` for any other text, and for parameters out of bounds.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let mut parts = id.split('-').skip(1);
        let mut number = |letter| parts.next()?.strip_prefix::<char>(letter)?.parse::<u32>().ok();
        let algorithm = match id {
            "hmac-sha256" => Self::HmacSha256,
            "device-hmac-sha256" => Self::DeviceHmacSha256,
            _ if id.starts_with("argon2id-") => Self::Argon2id {
                memory_kib: number('m').filter(|kib| (65_536..=4_194_304).contains(kib))?,
                passes: number('t').filter(|passes| (3..=1024).contains(passes))?,
                lanes: number('p').filter(|lanes| (1..=255).contains(lanes))?,
            },
            _ => Self::Pbkdf2 {
                iterations: id
                    .strip_prefix("pbkdf2-sha256-i")?
                    .parse()
                    .ok()
                    .filter(|iterations| (600_000..=100_000_000).contains(iterations))?,
            },
        };
        // One spelling each: nothing behind it, no signs, no leading zeros.
        (algorithm.id() == id).then_some(algorithm)
    }

    /// Whether the pepper stays in a device.
    pub(crate) const fn is_device(self) -> bool {
        matches!(self, Self::DeviceHmacSha256)
    }

    /// Whether a value takes a noticeable part of a second, on purpose.
    #[must_use]
    pub const fn is_slow(self) -> bool {
        self.slow_memory_kib().is_some()
    }

    /// The memory that one value takes, in KiB, for a slow index; `None` for others.
    pub(crate) const fn slow_memory_kib(self) -> Option<u32> {
        match self {
            Self::Argon2id { memory_kib, .. } => Some(memory_kib),
            Self::Pbkdf2 { .. } => Some(0),
            Self::HmacSha256 | Self::DeviceHmacSha256 => None,
        }
    }

    /// The least that the algorithm can cost: for tests, never for values that are kept.
    pub(crate) const fn cheapened(self) -> Self {
        match self {
            Self::Argon2id { .. } => Self::Argon2id {
                memory_kib: 8,
                passes: 1,
                lanes: 1,
            },
            Self::Pbkdf2 { .. } => Self::Pbkdf2 { iterations: 1 },
            other => other,
        }
    }
}

impl fmt::Display for IndexAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

/// The key of one index under one pepper, and the salt of its slow form.
#[derive(Debug)]
pub(crate) struct IndexKeys {
    pub(crate) key: IndexKey,
    pub(crate) salt: [u8; 16],
}

impl IndexKeys {
    /// `t = HMAC(K_index, 0x00 ‖ LP(v1, …, vn))`
    pub(crate) fn fast(&self, values: &Wiped) -> [u8; 32] {
        self.key.prf().mac(&[&[0x00], &values.0])
    }

    /// `HMAC(K_index, 0x01 ‖ LP(v1..vn))`: what waits for a worker, instead of the values.
    pub(crate) fn slow_input(&self, values: &Wiped) -> KeyMaterial {
        KeyMaterial::init_with(|k| *k = self.key.prf().mac(&[&[0x01], &values.0]))
    }

    /// `t = HMAC(K_index, 0x02 ‖ h)`; `None` when there is not enough memory.
    pub(crate) fn slow(&self, algorithm: IndexAlgorithm, input: &KeyMaterial) -> Option<[u8; 32]> {
        let h = KeyMaterial::try_init_with(|h| match algorithm {
            IndexAlgorithm::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => stretch::argon2id(input.expose_bytes(), &self.salt, [memory_kib, passes, lanes], h),
            IndexAlgorithm::Pbkdf2 { iterations } => {
                stretch::pbkdf2(input.expose_bytes(), &self.salt, iterations, h);
                Ok(())
            }
            IndexAlgorithm::HmacSha256 | IndexAlgorithm::DeviceHmacSha256 => Err(stretch::InvalidParameters),
        });
        h.ok()
            .map(|h| self.key.prf().mac(&[&[0x02], h.expose_bytes().as_slice()]))
    }
}

/// What a device makes `t` of: hashes of the context and of the values, behind the label. As good as the values.
pub(crate) fn device_message(ictx: &[u8], values: &Wiped) -> Wiped {
    let hash = Zeroizing::new(sha256(&values.0));
    let mut context = Wiped(Vec::with_capacity(4 + 2 * 36));
    lp::Writer::new(&mut context.0, 2)
        .element(&sha256(ictx))
        .element(&*hash);
    schedule::device_index_message(&context.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_parameters_in_decimal() {
        assert_eq!(IndexAlgorithm::HmacSha256.id(), "hmac-sha256");
        assert_eq!(IndexAlgorithm::DeviceHmacSha256.to_string(), "device-hmac-sha256");
        assert_eq!(IndexAlgorithm::pbkdf2(600_000).id(), "pbkdf2-sha256-i600000");
        #[cfg(not(feature = "fips"))]
        assert_eq!(
            IndexAlgorithm::argon2id(65_536, 3, 1).id(),
            "argon2id-m65536-t3-p1"
        );
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        for id in [
            "hmac-sha256",
            "device-hmac-sha256",
            "argon2id-m65536-t3-p1",
            "argon2id-m4194304-t1024-p255",
            "pbkdf2-sha256-i600000",
            "pbkdf2-sha256-i100000000",
        ] {
            assert_eq!(IndexAlgorithm::from_id(id).unwrap().id(), id);
        }
        for wrong in [
            "",
            "hmac",
            "HMAC-SHA256",
            "argon2id",
            "argon2id-m65535-t3-p1",
            "argon2id-m4194305-t3-p1",
            "argon2id-m65536-t2-p1",
            "argon2id-m65536-t1025-p1",
            "argon2id-m65536-t3-p0",
            "argon2id-m65536-t3-p256",
            "argon2id-m065536-t3-p1",
            "argon2id-m+65536-t3-p1",
            "argon2id-m65536-t3-p1-",
            "argon2id-t3-m65536-p1",
            "pbkdf2-sha256-i599999",
            "pbkdf2-sha256-i100000001",
            "pbkdf2-sha256-600000",
            "pbkdf2-sha256-i600000 ",
        ] {
            assert_eq!(IndexAlgorithm::from_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parameters_below_the_format_are_refused() {
        let refused = |make: fn() -> IndexAlgorithm| std::panic::catch_unwind(make).is_err();
        assert!(refused(|| IndexAlgorithm::argon2id(65_535, 3, 1)));
        assert!(refused(|| IndexAlgorithm::argon2id(65_536, 2, 1)));
        assert!(refused(|| IndexAlgorithm::argon2id(65_536, 3, 0)));
        assert!(refused(|| IndexAlgorithm::pbkdf2(599_999)));
        assert_eq!(
            refused(|| IndexAlgorithm::argon2id(65_536, 3, 1)),
            cfg!(feature = "fips")
        );
    }
}
