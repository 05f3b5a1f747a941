//! What every key provider does, in one call: local key files, KMS, HSM, and those of third parties.
//!
//! ```no_run
//! use phield_core::{KekReference, KeyProvider};
//! use phield_testkit::conformance::{self, Conformance};
//!
//! async fn conforms(provider: &dyn KeyProvider) {
//!     let [kek, unknown] = ["1", "999"].map(|reference| KekReference::new(reference).unwrap());
//!     conformance::check(provider, &Conformance::new(kek, unknown)).await;
//! }
//! ```
//!
//! [`check`] panics with a sentence at the first thing that is not so. What an emulator is known to do wrong is named
//! with [`Conformance::known_deviation`], and then it must be seen: one that has been mended fails the suite as well.

mod context;
mod hygiene;
mod mac;
mod wrap;

use std::cell::RefCell;
use std::collections::BTreeSet;

use phield_core::{KekReference, KeyProvider, ProviderError, ProviderErrorKind};

use hygiene::Hygiene;

/// What the suite needs to know of a provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conformance {
    /// A key-encryption key that wraps and unwraps.
    pub kek: KekReference,
    /// A reference of the provider's own form that names no key.
    pub unknown_kek: KekReference,
    /// Another key-encryption key.
    pub other_kek: Option<KekReference>,
    /// An index pepper that stays in the device. Without one, `mac` must be unsupported.
    pub mac_key: Option<KekReference>,
    /// Another index pepper.
    pub other_mac_key: Option<KekReference>,
    /// What may stand in no error and no `Debug`: a PIN, a passphrase, an access key. 5 bytes and more.
    pub secrets: Vec<String>,
    deviations: BTreeSet<Deviation>,
}

impl Conformance {
    /// The suite with one key-encryption key, and no `mac`.
    #[must_use]
    pub fn new(kek: KekReference, unknown_kek: KekReference) -> Self {
        Self {
            kek,
            unknown_kek,
            other_kek: None,
            mac_key: None,
            other_mac_key: None,
            secrets: Vec::new(),
            deviations: BTreeSet::new(),
        }
    }

    /// Also checks that a wrap opens under its own key-encryption key alone.
    #[must_use]
    pub fn with_other_kek(mut self, other: KekReference) -> Self {
        self.other_kek = Some(other);
        self
    }

    /// Also checks `mac`, with two peppers.
    #[must_use]
    pub fn with_mac_keys(mut self, key: KekReference, other: KekReference) -> Self {
        (self.mac_key, self.other_mac_key) = (Some(key), Some(other));
        self
    }

    /// Also looks for these in every error and `Debug`.
    #[must_use]
    pub fn with_secrets<S: Into<String>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        self.secrets.extend(secrets.into_iter().map(Into::into));
        self
    }

    /// Expects an emulator to do this wrong, and fails if it does not.
    #[must_use]
    pub fn known_deviation(mut self, deviation: Deviation) -> Self {
        self.deviations.insert(deviation);
        self
    }
}

/// What an emulator may be known to do wrong. No product of ours has one, and no device that keeps keys of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Deviation {
    /// A wrap that was changed opens, and gives another key: the emulator's cipher has no tag.
    ChangedWrapOpens,
    /// A wrap that was changed is refused with another class of error than `Authentication` or `Malformed`.
    ChangedWrapHasOtherError,
    /// A wrap opens when another key-encryption key is named.
    OtherKekOpens,
    /// A wrap of another key-encryption key is refused with another class of error than `Authentication`.
    OtherKekHasOtherError,
    /// An unknown key-encryption key has another class of error than `UnknownKek`.
    UnknownKekHasOtherError,
}

/// Checks a provider.
///
/// # Panics
/// At the first thing that is not so, and where a known deviation is not seen.
pub async fn check(provider: &dyn KeyProvider, conformance: &Conformance) {
    let suite = Suite {
        provider,
        conformance,
        hygiene: Hygiene::new(&conformance.secrets),
        seen: RefCell::default(),
    };
    suite.hygiene.debug("the provider", provider);
    suite.round_trips().await;
    suite.generated_keys().await;
    suite.every_part_of_the_context().await;
    suite.changed_wraps().await;
    suite.wraps_of_others().await;
    suite.unknown_kek().await;
    suite.macs().await;
    suite.concurrent_calls().await;
    suite.hygiene.debug("the provider, after all that", provider);
    let unseen: Vec<_> = conformance
        .deviations
        .difference(&suite.seen.borrow())
        .copied()
        .collect();
    assert!(
        unseen.is_empty(),
        "known deviations were not seen: {unseen:?}; has the emulator been mended?"
    );
}

/// The suite over one provider.
struct Suite<'a> {
    provider: &'a dyn KeyProvider,
    conformance: &'a Conformance,
    hygiene: Hygiene,
    /// Deviations that were seen.
    seen: RefCell<BTreeSet<Deviation>>,
}

impl Suite<'_> {
    /// The error of a call that must fail.
    fn error<T>(&self, what: &str, result: Result<T, ProviderError>) -> ProviderErrorKind {
        match result {
            Ok(_) => fail(&format!("{what}: it succeeded")),
            Err(error) => {
                self.hygiene.error(what, &error);
                error.kind()
            }
        }
    }

    fn expect<T>(&self, what: &str, result: Result<T, ProviderError>) -> T {
        result.unwrap_or_else(|error| {
            self.hygiene.error(what, &error);
            fail(&format!("{what}: {}", hygiene::chain(&error)))
        })
    }

    /// That a call fails with one of these classes; `opens` and `other` are what an emulator may be known for instead.
    /// Whether this is what the provider is known to do wrong.
    fn is_known(&self, deviation: Deviation) -> bool {
        self.conformance.deviations.contains(&deviation)
    }

    fn fails<T>(
        &self,
        what: &str,
        result: Result<T, ProviderError>,
        expected: &[ProviderErrorKind],
        [opens, other]: [Option<Deviation>; 2],
    ) {
        let known = |deviation: Option<Deviation>| {
            let known = deviation.filter(|deviation| self.conformance.deviations.contains(deviation));
            known.is_some_and(|deviation| {
                self.seen.borrow_mut().insert(deviation);
                true
            })
        };
        if result.is_ok() && known(opens) {
            return;
        }
        let kind = self.error(what, result);
        assert!(
            expected.contains(&kind) || known(other),
            "{what}: expected one of {expected:?}, and it is {kind:?}"
        );
    }
}

#[allow(clippy::panic, reason = "a conformance suite has nothing else to say")]
fn fail(what: &str) -> ! {
    panic!("{what}")
}
