//! The algorithms of blind indexes, by their ids (format §7).

use syn::LitStr;

use crate::errors::Errors;

/// How index values are computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    HmacSha256,
    Argon2id {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
    Pbkdf2 {
        iterations: u32,
    },
    DeviceHmacSha256,
}

impl Algorithm {
    /// Whether values take long enough, or are far enough away, to be waited for.
    pub(crate) fn is_awaited(self) -> bool {
        self != Self::HmacSha256
    }

    /// Whether the pepper stays in a device, so that nothing can be computed without waiting.
    pub(crate) fn is_device(self) -> bool {
        self == Self::DeviceHmacSha256
    }

    /// The algorithm with this id.
    pub(super) fn parse(text: &LitStr, errors: &Errors) -> Option<Self> {
        let id = text.value();
        let parsed = match id.as_str() {
            "hmac-sha256" => Ok(Self::HmacSha256),
            "device-hmac-sha256" => Ok(Self::DeviceHmacSha256),
            other => match (
                other.strip_prefix("argon2id"),
                other.strip_prefix("pbkdf2-sha256"),
            ) {
                (Some(parameters), _) => argon2id(parameters),
                (_, Some(parameters)) => pbkdf2(parameters),
                (None, None) => Err(
                    "unknown algorithm; known are `hmac-sha256`, `argon2id-m65536-t3-p1`, `pbkdf2-sha256-i600000` \
                     (both with other numbers, too) and `device-hmac-sha256`",
                ),
            },
        };
        parsed.map_err(|message| errors.at(text.span(), message)).ok()
    }
}

/// `-m65536-t3-p1`
fn argon2id(parameters: &str) -> Result<Algorithm, &'static str> {
    let numbers = || {
        let (memory, rest) = parameters.strip_prefix("-m")?.split_once("-t")?;
        let (passes, lanes) = rest.split_once("-p")?;
        Some((number(memory)?, number(passes)?, number(lanes)?))
    };
    let (memory_kib, passes, lanes) = numbers().ok_or(
        "write `argon2id-m65536-t3-p1`: memory in KiB, passes and lanes, in decimal without leading zeros",
    )?;
    let in_bounds = (65_536..=4_194_304).contains(&memory_kib)
        && (3..=1024).contains(&passes)
        && (1..=255).contains(&lanes);
    in_bounds
        .then_some(Algorithm::Argon2id {
            memory_kib,
            passes,
            lanes,
        })
        .ok_or("Argon2id takes 65536 to 4194304 KiB (m), 3 to 1024 passes (t) and 1 to 255 lanes (p)")
}

/// `-i600000`
fn pbkdf2(parameters: &str) -> Result<Algorithm, &'static str> {
    let iterations = parameters.strip_prefix("-i").and_then(number);
    let iterations = iterations
        .ok_or("write `pbkdf2-sha256-i600000`: the number of iterations, in decimal without leading zeros")?;
    (600_000..=100_000_000)
        .contains(&iterations)
        .then_some(Algorithm::Pbkdf2 { iterations })
        .ok_or("PBKDF2 takes 600000 to 100000000 iterations (i)")
}

/// A number as it stands in an id: it has one spelling, for the id is part of the index key.
fn number(digits: &str) -> Option<u32> {
    let one_spelling = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    one_spelling.then(|| digits.parse().ok())?
}
