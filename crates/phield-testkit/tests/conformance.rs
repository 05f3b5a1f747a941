//! The conformance suite over the local provider, and over providers that break one rule each.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use phield_core::{
    KekReference, KeyContext, KeyMaterial, KeyProvider, LocalKeyFile, LocalProvider, Passphrase,
    ProviderError, ProviderErrorKind, ProviderFuture, ProviderName, Stretching,
};
use phield_testkit::block_on;
use phield_testkit::conformance::{self, Conformance, Deviation};

const PASSPHRASE: &str = "correct horse battery";

fn reference(text: &str) -> KekReference {
    KekReference::new(text).unwrap()
}

fn local() -> LocalProvider {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new(PASSPHRASE.to_owned());
    let path = folder.path().join("keys.phield");
    LocalProvider::new(&LocalKeyFile::create(&path, &passphrase, Stretching::minimal(), 0).unwrap())
}

fn suite() -> Conformance {
    Conformance::new(reference("1"), reference("2")).with_secrets([PASSPHRASE])
}

#[test]
fn the_local_provider_conforms() {
    block_on(conformance::check(&local(), &suite()));
}

/// What one of the broken providers does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Breaks {
    /// The local provider, through and through.
    Nothing,
    /// Wraps of one key are equal.
    Nonce,
    /// The context is not bound.
    Context,
    /// A wrap that was changed opens.
    Tag,
    /// Every key-encryption key is the same one.
    Kek,
    /// Trailing bytes are ignored.
    Length,
    /// Keys are made once.
    Generate,
    /// `mac` ignores its message.
    Mac,
    /// An outage in the place of a wrap that does not open.
    Class,
    /// `Debug` shows the passphrase.
    Debug,
}

/// Wraps two local providers, and breaks one rule.
struct Broken {
    breaks: Breaks,
    local: LocalProvider,
    other: LocalProvider,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.breaks == Breaks::Debug {
            PASSPHRASE
        } else {
            "Broken"
        })
    }
}

impl Broken {
    fn new(breaks: Breaks) -> Self {
        let (local, other) = (local(), local());
        Self { breaks, local, other }
    }

    fn of(&self, kek: &KekReference) -> Result<&LocalProvider, ProviderError> {
        match kek.as_str() {
            "1" => Ok(&self.local),
            "other" if self.breaks == Breaks::Kek => Ok(&self.local),
            "other" => Ok(&self.other),
            _ => Err(ProviderError::new(ProviderErrorKind::UnknownKek, "wrap")),
        }
    }

    fn context(&self, context: &KeyContext) -> KeyContext {
        let mut context = context.clone();
        if self.breaks == Breaks::Context {
            context.scope = None;
        }
        context
    }
}

impl KeyProvider for Broken {
    fn name(&self) -> &ProviderName {
        self.local.name()
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let local = self.of(kek)?;
            if self.breaks == Breaks::Nonce {
                let masked = key.expose_bytes().iter().map(|byte| byte ^ 0x5a);
                return Ok(masked.collect());
            }
            local.wrap(&reference("1"), &self.context(context), key).await
        })
    }

    fn generate<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
    ) -> ProviderFuture<'a, (KeyMaterial, Vec<u8>)> {
        Box::pin(async move {
            let key = if self.breaks == Breaks::Generate {
                KeyMaterial::init_with(|key| *key = [7; 32])
            } else {
                KeyMaterial::random().unwrap()
            };
            let wrapped = self.wrap(kek, context, &key).await?;
            Ok((key, wrapped))
        })
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        Box::pin(async move {
            let local = self.of(kek)?;
            if self.breaks == Breaks::Nonce {
                let mut bytes = wrapped.iter().map(|byte| byte ^ 0x5a);
                return Ok(KeyMaterial::init_with(|key| {
                    key.fill_with(|| bytes.next().unwrap_or(0));
                }));
            }
            let wrapped = if self.breaks == Breaks::Length {
                wrapped.get(..93).unwrap_or(wrapped)
            } else {
                wrapped
            };
            let opened = local
                .unwrap(&reference("1"), &self.context(context), wrapped)
                .await;
            match (self.breaks, opened) {
                (Breaks::Tag, Err(_)) if wrapped.len() == 93 => Ok(KeyMaterial::random().unwrap()),
                (Breaks::Class, Err(_)) => Err(ProviderError::new(ProviderErrorKind::Unavailable, "unwrap")),
                (_, opened) => opened,
            }
        })
    }

    fn mac<'a>(&'a self, key: &'a KekReference, message: &'a [u8]) -> ProviderFuture<'a, [u8; 32]> {
        Box::pin(async move {
            self.of(key)?;
            let mut mac = [u8::from(key.as_str() == "1") + 1; 32];
            if self.breaks != Breaks::Mac {
                mac[0] = u8::try_from(message.len() % 251).unwrap();
                mac[1] = message.last().copied().unwrap_or(0);
            }
            Ok(mac)
        })
    }
}

fn conforms(breaks: Breaks, suite: &Conformance) -> Result<(), String> {
    let provider = Broken::new(breaks);
    let checked = catch_unwind(AssertUnwindSafe(|| {
        block_on(conformance::check(&provider, suite));
    }));
    checked.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or_default()
            .to_owned(),
    })
}

fn with_everything() -> Conformance {
    let [one, other] = ["1", "other"].map(reference);
    suite().with_other_kek(other.clone()).with_mac_keys(one, other)
}

/// The suite finds each of them, and says what it found.
#[test]
fn a_provider_that_breaks_a_rule_is_found() {
    assert_eq!(conforms(Breaks::Nothing, &with_everything()), Ok(()));
    for (breaks, says) in [
        (Breaks::Nonce, "two wraps are equal"),
        (Breaks::Context, "unwrapping under another scope: it succeeded"),
        (Breaks::Tag, "unwrapping under another ring: it succeeded"),
        (
            Breaks::Kek,
            "unwrapping with another key-encryption key: it succeeded",
        ),
        (Breaks::Length, "the key itself came out"),
        (Breaks::Generate, "it is no fresh key"),
        (Breaks::Mac, "two macs are equal"),
        (Breaks::Class, "and it is Unavailable"),
        (Breaks::Debug, "a secret is shown"),
    ] {
        let found = conforms(breaks, &with_everything()).unwrap_err();
        assert!(found.contains(says), "{breaks:?}: {found}");
    }
}

/// What an emulator is known for is let pass, and has to be seen.
#[test]
fn known_deviations_are_named_and_seen() {
    let known = with_everything().known_deviation(Deviation::OtherKekOpens);
    assert_eq!(conforms(Breaks::Kek, &known), Ok(()));
    let found = conforms(Breaks::Nothing, &known).unwrap_err();
    assert!(found.contains("[OtherKekOpens]"), "{found}");
}
