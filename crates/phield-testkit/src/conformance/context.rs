//! Every key there can be, and what differs from one in one part.

use phield_core::{KeyContext, KeyId, KeyMaterial, KeyUse, RingName, ScopeName, Share, Suite as Cipher};

use super::Suite;

/// Every use, the suites of data keys, with and without a scope, whole and in shares.
pub(super) fn every_context() -> Vec<KeyContext> {
    let kinds = [
        (KeyUse::Data, Some(Cipher::Aes256Gcm)),
        (KeyUse::Data, Some(Cipher::XChaCha20Poly1305)),
        (KeyUse::Index, None),
        (KeyUse::Uid, None),
        (KeyUse::Subject, None),
        (KeyUse::Ring, None),
    ];
    let mut contexts = Vec::new();
    for (key_use, suite) in kinds {
        for scope in [None, Some(scope("t1"))] {
            for share in [None, Some(Share::First), Some(Share::Second)] {
                let mut context = KeyContext::new(ring("conformance"), id(contexts.len()), key_use);
                (context.suite, context.scope, context.share) = (suite, scope.clone(), share);
                contexts.push(context);
            }
        }
    }
    contexts
}

/// A data key with everything that a context can have.
pub(super) fn full_context() -> KeyContext {
    let mut context = KeyContext::new(ring("conformance"), id(0), KeyUse::Data);
    context.suite = Some(Cipher::Aes256Gcm);
    context.scope = Some(scope("t1"));
    context.share = Some(Share::First);
    context
}

/// What differs from [`full_context`] in one part.
fn changed_contexts() -> Vec<(&'static str, KeyContext)> {
    let changed = |what: &'static str, change: fn(&mut KeyContext)| {
        let mut context = full_context();
        change(&mut context);
        (what, context)
    };
    vec![
        changed("another ring", |of| of.ring = ring("conformance2")),
        changed("a ring with a longer name", |of| of.ring = ring("conformancet1")),
        changed("another key id", |of| of.key_id = id(1)),
        changed("another suite", |of| of.suite = Some(Cipher::XChaCha20Poly1305)),
        changed("no suite", |of| of.suite = None),
        changed("another use", |of| of.key_use = KeyUse::Index),
        changed("another scope", |of| of.scope = Some(scope("t2"))),
        changed("a scope with a longer name", |of| of.scope = Some(scope("t11"))),
        changed("no scope", |of| of.scope = None),
        changed("the other share", |of| of.share = Some(Share::Second)),
        changed("no share", |of| of.share = None),
    ]
}

impl Suite<'_> {
    /// A wrap opens under its own context alone, both where a part is another one and where one is there or missing.
    pub(super) async fn every_part_of_the_context(&self) {
        let (context, key) = (full_context(), key());
        let wrapped = self.wrap(&context, &key).await;
        for (what, changed) in changed_contexts() {
            let opened = self
                .provider
                .unwrap(&self.conformance.kek, &changed, &wrapped)
                .await;
            self.authentication(&format!("unwrapping under {what}"), opened);
            let of_changed = self.wrap(&changed, &key).await;
            let opened = self
                .provider
                .unwrap(&self.conformance.kek, &context, &of_changed)
                .await;
            self.authentication(&format!("unwrapping what was wrapped under {what}"), opened);
        }
    }
}

pub(super) fn key() -> KeyMaterial {
    KeyMaterial::random().expect("randomness")
}

fn id(number: usize) -> KeyId {
    let number = u32::try_from(number)
        .ok()
        .and_then(|number| KeyId::new(0x5eed_0001 + number));
    number.expect("there are few contexts")
}

fn ring(name: &'static str) -> RingName {
    RingName::from_static(name)
}

fn scope(name: &'static str) -> ScopeName {
    ScopeName::from_static(name)
}
