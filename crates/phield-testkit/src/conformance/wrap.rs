//! Wrapping and unwrapping.

use futures_util::future::join_all;
use phield_core::{KeyContext, KeyMaterial, ProviderError, ProviderErrorKind};

use super::context::{every_context, full_context, key};
use super::{Deviation, Suite, fail};

/// How many calls are under way at a time.
const CONCURRENT: usize = 16;

impl Suite<'_> {
    pub(super) async fn wrap(&self, context: &KeyContext, key: &KeyMaterial) -> Vec<u8> {
        let wrapped = self.provider.wrap(&self.conformance.kek, context, key).await;
        self.expect("wrapping", wrapped)
    }

    async fn opens_as(&self, what: &str, context: &KeyContext, wrapped: &[u8], key: &KeyMaterial) {
        let opened = self
            .provider
            .unwrap(&self.conformance.kek, context, wrapped)
            .await;
        let opened = self.expect(what, opened);
        assert!(
            opened.expose_bytes() == key.expose_bytes(),
            "{what}: another key came out than went in"
        );
        self.hygiene.debug("a key", &opened);
    }

    pub(super) fn authentication<T>(&self, what: &str, result: Result<T, ProviderError>) {
        self.fails(what, result, &[ProviderErrorKind::Authentication], [None, None]);
    }

    /// What was wrapped opens, for every key there can be; two wraps of one key differ, and show nothing of it.
    pub(super) async fn round_trips(&self) {
        for context in every_context() {
            let what = format!("a key of {context:?}");
            let key = key();
            let (first, second) = (self.wrap(&context, &key).await, self.wrap(&context, &key).await);
            assert!(first != second, "{what}: two wraps are equal");
            for wrapped in [&first, &second] {
                let shows = wrapped
                    .windows(8)
                    .any(|part| key.expose_bytes().windows(8).any(|of| of == part));
                assert!(!shows, "{what}: the wrap shows bytes of the key");
                self.opens_as(&what, &context, wrapped, &key).await;
                // Once more: unwrapping uses nothing up.
                self.opens_as(&what, &context, wrapped, &key).await;
            }
        }
    }

    /// `generate` gives a fresh key and its wrap.
    pub(super) async fn generated_keys(&self) {
        let mut seen = Vec::new();
        for context in every_context() {
            let what = format!("a generated key of {context:?}");
            let generated = self.provider.generate(&self.conformance.kek, &context).await;
            let (key, wrapped) = self.expect(&what, generated);
            self.opens_as(&what, &context, &wrapped, &key).await;
            let bytes = *key.expose_bytes();
            assert!(
                bytes != [0; 32] && !seen.contains(&bytes),
                "{what}: it is no fresh key"
            );
            seen.push(bytes);
        }
    }

    /// Every flipped bit, every shorter wrap, and some longer ones.
    pub(super) async fn changed_wraps(&self) {
        let (context, key) = (full_context(), key());
        let wrapped = self.wrap(&context, &key).await;
        let flipped = (0..wrapped.len() * 8).map(|bit| {
            let mut changed = wrapped.clone();
            if let Some(byte) = changed.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            (format!("bit {} of byte {}", bit % 8, bit / 8), changed)
        });
        let shorter = (0..wrapped.len()).map(|len| {
            let cut = wrapped.get(..len).unwrap_or_default().to_vec();
            (format!("only the first {len} bytes"), cut)
        });
        let longer = [vec![0], wrapped.clone()].map(|more| {
            let longer = [wrapped.as_slice(), &more].concat();
            (format!("{} bytes more", more.len()), longer)
        });
        let changed: Vec<_> = flipped.chain(shorter).chain(longer).collect();
        for some in changed.chunks(CONCURRENT) {
            let opened = join_all(
                some.iter()
                    .map(|(_, changed)| self.provider.unwrap(&self.conformance.kek, &context, changed)),
            );
            for ((what, _), opened) in some.iter().zip(opened.await) {
                let what = format!("a wrap that was changed ({what})");
                let is_key = |opened: &KeyMaterial| opened.expose_bytes() == key.expose_bytes();
                if opened.as_ref().is_ok_and(is_key) && !self.is_known(Deviation::ChangedWrapOpens) {
                    fail(&format!("{what}: the key itself came out"));
                }
                self.fails(
                    &what,
                    opened,
                    &[ProviderErrorKind::Authentication, ProviderErrorKind::Malformed],
                    [
                        Some(Deviation::ChangedWrapOpens),
                        Some(Deviation::ChangedWrapHasOtherError),
                    ],
                );
            }
        }
        self.opens_as("the wrap itself, after all that", &context, &wrapped, &key)
            .await;
    }

    /// Another key-encryption key does not open a wrap, nor do the bytes of two wraps mixed.
    pub(super) async fn wraps_of_others(&self) {
        let (context, key) = (full_context(), key());
        let wrapped = self.wrap(&context, &key).await;
        let other = self.wrap(&context, &self::key()).await;
        if wrapped.len() == other.len() {
            let (half, _) = wrapped.split_at(wrapped.len() / 2);
            let mixed = [half, other.get(half.len()..).unwrap_or_default()].concat();
            let opened = self
                .provider
                .unwrap(&self.conformance.kek, &context, &mixed)
                .await;
            self.fails(
                "two wraps mixed",
                opened,
                &[ProviderErrorKind::Authentication, ProviderErrorKind::Malformed],
                [
                    Some(Deviation::ChangedWrapOpens),
                    Some(Deviation::ChangedWrapHasOtherError),
                ],
            );
        }
        let Some(other_kek) = &self.conformance.other_kek else {
            return;
        };
        let deviations = [
            Some(Deviation::OtherKekOpens),
            Some(Deviation::OtherKekHasOtherError),
        ];
        let opened = self.provider.unwrap(other_kek, &context, &wrapped).await;
        let what = "unwrapping with another key-encryption key";
        self.fails(what, opened, &[ProviderErrorKind::Authentication], deviations);
        let wrapped = self.provider.wrap(other_kek, &context, &key).await;
        let wrapped = self.expect("wrapping with another key-encryption key", wrapped);
        let opened = self
            .provider
            .unwrap(&self.conformance.kek, &context, &wrapped)
            .await;
        let what = "unwrapping what another key-encryption key wrapped";
        self.fails(what, opened, &[ProviderErrorKind::Authentication], deviations);
    }

    /// A reference that names no key.
    pub(super) async fn unknown_kek(&self) {
        let (context, key) = (full_context(), key());
        let unknown = &self.conformance.unknown_kek;
        let wrapped = self.wrap(&context, &key).await;
        let expected = &[ProviderErrorKind::UnknownKek];
        let deviations = [None, Some(Deviation::UnknownKekHasOtherError)];
        let made = self.provider.wrap(unknown, &context, &key).await;
        self.fails(
            "wrapping with an unknown key-encryption key",
            made,
            expected,
            deviations,
        );
        let made = self.provider.generate(unknown, &context).await;
        self.fails(
            "generating under an unknown key-encryption key",
            made,
            expected,
            deviations,
        );
        let opened = self.provider.unwrap(unknown, &context, &wrapped).await;
        self.fails(
            "unwrapping with an unknown key-encryption key",
            opened,
            expected,
            deviations,
        );
    }

    /// Many keys wrapped and unwrapped at a time come out as they went in.
    pub(super) async fn concurrent_calls(&self) {
        let contexts: Vec<_> = every_context()
            .into_iter()
            .map(|context| (context, key()))
            .collect();
        let contexts = &contexts;
        join_all(contexts.iter().map(|(context, key)| async move {
            let wrapped = self.wrap(context, key).await;
            self.opens_as("one of many calls at a time", context, &wrapped, key)
                .await;
        }))
        .await;
    }
}
