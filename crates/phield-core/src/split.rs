//! Split wraps (format §8.1), dual control: a key in two shares, each wrapped by a provider of its own. Both are needed.
//!
//! ```text
//! reference = provider1|ref1|provider2|ref2         bytes = LP(W1, W2)
//! s1 = 32 bytes from the OS, s2 = key ⊕ s1          Wi = provider i's wrap of si with LP("phield.v1.share", KREC, i) for KREC
//! ```

use crate::config::ConfigError;
use crate::context::{KeyContext, Share};
use crate::error::RingError;
use crate::key::KeyMaterial;
use crate::lp;
use crate::name::ProviderName;
use crate::patience::Patience;
use crate::provider::AllowedProvider;
use crate::record::{KekReference, Wrap};
use crate::settings::{gravity, provider_error};

/// The provider name of split wraps.
pub(crate) const SPLIT: ProviderName = ProviderName::from_static("split");

/// A key-encryption key and its provider, by name.
type Kek = (ProviderName, KekReference);

/// Wraps a key in two shares under two key-encryption keys, both on the allow-list.
pub(crate) async fn wrap(
    providers: &[AllowedProvider],
    keks: &[Kek; 2],
    context: &KeyContext,
    key: &KeyMaterial,
) -> Result<Wrap, RingError> {
    wrap_with(providers, keks, context, key, KeyMaterial::random()?).await
}

async fn wrap_with(
    providers: &[AllowedProvider],
    [first, second]: &[Kek; 2],
    context: &KeyContext,
    key: &KeyMaterial,
    s1: KeyMaterial,
) -> Result<Wrap, RingError> {
    let name = |(provider, kek): &Kek| format!("{provider}|{kek}");
    let reference = KekReference::new(format!("{}|{}", name(first), name(second)))
        .filter(|reference| references(reference).is_some())
        .ok_or(RingError::Malformed("the reference of a split wrap"))?;
    // Both are looked up before either is called.
    let allowed = [
        allowed(providers, first, context)?,
        allowed(providers, second, context)?,
    ];
    let shares = [
        (first, Share::First, &s1),
        (second, Share::Second, &xor(key, &s1)),
    ];
    let mut wraps = Vec::with_capacity(2);
    for ((kek, share, s), allowed) in shares.into_iter().zip(allowed) {
        let wrapped = allowed.provider().wrap(&kek.1, &of(context, share), s).await;
        wraps.push(wrapped.map_err(|error| provider_error(context.key_id, error))?);
    }
    let bytes = lp::encode(&wraps.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(Wrap::new(SPLIT, reference, bytes))
}

/// Unwraps both shares and joins them. Both references are on the allow-list, or no provider is called. Both providers are
/// asked, whatever the first says: the outage of one does not hide that the other refuses (R-12).
pub(crate) async fn unwrap(
    providers: &[AllowedProvider],
    patience: Patience,
    context: &KeyContext,
    wrap: &Wrap,
) -> Result<KeyMaterial, RingError> {
    let malformed = || RingError::Malformed("a split wrap");
    let keks = references(&wrap.kek).ok_or_else(malformed)?;
    let wrapped = lp::decode::<2>(&wrap.bytes).ok_or_else(malformed)?;
    let [first, second] = &keks;
    let allowed = [
        allowed(providers, first, context)?,
        allowed(providers, second, context)?,
    ];
    let wrapped = keks.iter().zip(wrapped).zip([Share::First, Share::Second]);
    let mut shares = Vec::with_capacity(2);
    for (((kek, wrapped), share), allowed) in wrapped.zip(allowed) {
        let of_share = of(context, share);
        let unwrap = allowed.provider().unwrap(&kek.1, &of_share, wrapped);
        let share = patience.call(unwrap).await;
        shares.push(share.map_err(|error| provider_error(context.key_id, error)));
    }
    let (second, first) = (shares.pop(), shares.pop());
    match (first, second) {
        (Some(Ok(s1)), Some(Ok(s2))) => Ok(xor(&s1, &s2)),
        (Some(Err(first)), Some(Err(second))) if gravity(&second) > gravity(&first) => Err(second),
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
        _ => Err(malformed()),
    }
}

/// Whether configuration has both key-encryption keys of a split wrap, so that it is one to be opened here.
pub(crate) fn is_allowed(providers: &[AllowedProvider], wrap: &Wrap) -> bool {
    let Some(keks) = references(&wrap.kek) else {
        // Opening it says what is wrong.
        return true;
    };
    keks.iter().all(|kek| find(providers, kek).is_some())
}

fn find<'p>(providers: &'p [AllowedProvider], (provider, kek): &Kek) -> Option<&'p AllowedProvider> {
    providers.iter().find(|allowed| allowed.has(provider, kek))
}

fn allowed<'p>(
    providers: &'p [AllowedProvider],
    kek: &Kek,
    context: &KeyContext,
) -> Result<&'p AllowedProvider, RingError> {
    Ok(find(providers, kek).ok_or(ConfigError::KekNotAllowed(context.key_id))?)
}

/// Two providers and references. Neither is itself a split; the two differ.
pub(crate) fn references(reference: &KekReference) -> Option<[Kek; 2]> {
    let parts: Vec<&str> = reference.as_str().split('|').collect();
    let &[provider1, ref1, provider2, ref2] = parts.as_slice() else {
        return None;
    };
    let kek = |provider: &str, reference: &str| {
        let provider = ProviderName::new(provider).ok().filter(|name| *name != SPLIT)?;
        Some((provider, KekReference::new(reference)?))
    };
    let keks = [kek(provider1, ref1)?, kek(provider2, ref2)?];
    let [first, second] = &keks;
    (first != second).then_some(keks)
}

fn of(context: &KeyContext, share: Share) -> KeyContext {
    let mut context = context.clone();
    context.share = Some(share);
    context
}

fn xor(a: &KeyMaterial, b: &KeyMaterial) -> KeyMaterial {
    KeyMaterial::init_with(|out| {
        for ((out, a), b) in out.iter_mut().zip(a.expose_bytes()).zip(b.expose_bytes()) {
            *out = a ^ b;
        }
    })
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Split wraps with a given first share, for vectors.

    use super::*;

    pub(crate) async fn wrap(
        providers: &[AllowedProvider],
        keks: &[Kek; 2],
        context: &KeyContext,
        key: &KeyMaterial,
        s1: [u8; 32],
    ) -> Result<Wrap, RingError> {
        wrap_with(providers, keks, context, key, KeyMaterial::init_with(|k| *k = s1)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_references_are_good() {
        let parsed = |text: &str| references(&KekReference::new(text).unwrap());
        assert!(parsed("local|1|local|2").is_some());
        assert!(parsed("local|1|aws-kms|1").is_some());
        for bad in [
            "local|1|local|1",
            "local|1|local",
            "local|1|local|2|",
            "split|1|local|2",
            "local|1|split|x",
            "|1|local|2",
            "local||local|2",
            "lo cal|1|local|2",
        ] {
            assert!(parsed(bad).is_none(), "{bad}");
        }
    }
}
