//! Each provider: whether it opens, and what of the ring it opens.

use std::collections::BTreeMap;

use phield_core::config::Config;
use phield_core::{
    AllowedProvider, KekReference, KeyId, KeyMaterial, KeyRecord, Manifest, ProviderName, RingError,
    RingSettings, VerifiedRing, Wrap, WrapCheck, WrapOutcome,
};

use super::finding::{Area, Findings};
use crate::Host;
use crate::text::{chain, count, ids};
use crate::wraps::closed;

/// Opens the providers: all of them, or those that can be, so that a ring is looked at whatever fails.
pub(super) async fn open(config: &Config, host: &Host<'_>, findings: &mut Findings) -> Option<RingSettings> {
    let error = match config.settings(host.backends()).await {
        Ok(settings) => return Some(settings),
        Err(error) => error,
    };
    let mut working = config.clone();
    // Without its providers it would be refused, and that is not what is wrong.
    working.dual_control = None;
    let mut failed = Vec::new();
    for provider in &config.providers {
        let mut alone = working.clone();
        alone.providers = vec![provider.clone()];
        if let Err(error) = alone.settings(host.backends()).await {
            failed.push((provider.name.clone(), error));
        }
    }
    working
        .providers
        .retain(|provider| failed.iter().all(|(name, _)| *name != provider.name));
    let settings = working.settings(host.backends()).await;
    // An error that every provider has alone is one of the configuration.
    if failed.is_empty()
        || (settings.is_err()
            && failed
                .iter()
                .all(|(_, one)| one.to_string() == error.to_string() && !is_of_provider(one)))
    {
        findings.failed(
            Area::Configuration,
            &error,
            "The application does not start.",
            "Put right what the message says.",
        );
        return None;
    }
    for (name, error) in failed {
        findings.failed(
            Area::Provider,
            &NamedError { name, error },
            "The application does not start: none of the wraps of this provider can be opened.",
            "Put right what the message says; `phield keys check` then tries every wrap.",
        );
    }
    settings.ok()
}

fn is_of_provider(error: &RingError) -> bool {
    !matches!(error, RingError::Config(_)) || error.to_string().contains("does not exist")
}

/// The error of a provider.
#[derive(Debug, thiserror::Error)]
#[error("the provider {name} does not open")]
struct NamedError {
    name: String,
    #[source]
    error: RingError,
}

/// What the wraps of the ring give.
pub(super) async fn check(
    config: &Config,
    settings: &RingSettings,
    verified: &VerifiedRing,
    findings: &mut Findings,
) {
    let checks = verified.check(settings).await;
    let mut by_outcome = BTreeMap::<_, Vec<&WrapCheck>>::new();
    for check in &checks {
        let kek = (check.provider.clone(), check.kek.clone(), check.outcome);
        by_outcome.entry(kek).or_default().push(check);
    }
    // What there is to say about a provider that does not open was said.
    let is_open = |name: &ProviderName| {
        let mut open = settings.providers.iter();
        let mut configured = config.providers.iter();
        open.any(|allowed| allowed.provider().name() == name)
            || !configured.any(|provider| provider.name == name.as_str())
    };
    for ((provider, kek, outcome), checks) in by_outcome.iter().filter(|((name, ..), _)| is_open(name)) {
        report(provider, kek, *outcome, checks, findings);
    }
    let closed = closed(&checks);
    if !closed.is_empty() {
        findings.error(
            Area::Keys,
            format!("no wrap opens now of these keys: {}", ids(&closed)),
            "Nothing can be sealed, opened or searched with them.",
            "Bring a provider of one of their wraps back, or put its key-encryption key into keys and keks.",
        );
    }
    if config.dual_control.is_none() {
        missing(settings, verified.manifest(), findings).await;
    }
}

fn report(
    provider: &ProviderName,
    kek: &KekReference,
    outcome: WrapOutcome,
    checks: &[&WrapCheck],
    findings: &mut Findings,
) {
    let keys: Vec<KeyId> = checks.iter().map(|check| check.key_id).collect();
    let why = checks.iter().find_map(|check| check.error.as_ref());
    let why = why.map_or_else(String::new, |error| format!(": {}", chain(error)));
    let what = format!("{provider} {kek}: {outcome} ({}){why}", count(keys.len(), "key"));
    match outcome {
        WrapOutcome::Opens => {}
        WrapOutcome::NotConfigured => findings.note(
            Area::Provider,
            what,
            "These wraps were not tried: right for a break-glass key that is kept offline.",
            "Otherwise name it in keks of its [[provider]].",
        ),
        WrapOutcome::OutOfReach => findings.warning(
            Area::Provider,
            what,
            "An outage: running processes go on until the hard TTL; new ones need another wrap.",
            "See that the provider is reached from here: network, service, token, credentials.",
        ),
        WrapOutcome::Refused => findings.error(
            Area::Provider,
            what,
            "Not an outage: access was denied, or the key-encryption key was disabled or is to be deleted. Processes drop the \
             keys at their next refresh.",
            "Give access back, or cancel the deletion now: a key-encryption key that is gone takes its wraps with it.",
        ),
        WrapOutcome::UnknownKek => findings.error(
            Area::Provider,
            what,
            "Configuration names a key-encryption key that its provider does not have.",
            "Give the provider the right key file, token or account, or take it out of keks.",
        ),
        _ => findings.error(
            Area::Provider,
            format!("{what}; of keys {}", ids(&keys)),
            "The wraps were changed, or the provider has another key by this name. Nothing is opened by them.",
            "Find out who changed it. Keys that open by another wrap: `phield keys wrap remove`, then `wrap add`.",
        ),
    }
}

/// Key-encryption keys of the configuration under which some keys are not wrapped, or cannot be.
async fn missing(settings: &RingSettings, manifest: &Manifest, findings: &mut Findings) {
    for allowed in &settings.providers {
        let name = allowed.provider().name();
        for kek in allowed.keks() {
            let lacking = lacking(manifest, name, kek);
            let Some(record) = lacking.first() else { continue };
            if let Err(error) = try_to_wrap(allowed, kek, record).await {
                findings.error(
                    Area::Provider,
                    format!("{name} {kek}: nothing can be wrapped under it: {}", chain(&*error)),
                    "New keys are wrapped under every key-encryption key of the configuration: none can be added now.",
                    "Give the provider the key or the right to use it, or take it out of keks.",
                );
            } else {
                findings.warning(
                    Area::Keys,
                    format!("{} have no wrap under {name} {kek}", count(lacking.len(), "key")),
                    "This key-encryption key does not stand in for the others: not in an outage, and not when they are lost.",
                    format!("phield keys wrap add --provider {name} --kek '{kek}'"),
                );
            }
        }
    }
}

/// Keys that could have a wrap under this key-encryption key, and have none.
fn lacking<'m>(manifest: &'m Manifest, name: &ProviderName, kek: &KekReference) -> Vec<&'m KeyRecord> {
    let is_plain = |wrap: &Wrap| wrap.provider.as_str() != "split" && !wrap.bytes.is_empty();
    let is_it = |wrap: &Wrap| wrap.provider == *name && wrap.kek == *kek;
    let lacks = |record: &&KeyRecord| {
        record.state.opens() && record.wraps.iter().all(is_plain) && !record.wraps.iter().any(is_it)
    };
    manifest.records.iter().filter(lacks).collect()
}

/// Wraps a key that is thrown away.
async fn try_to_wrap(
    allowed: &AllowedProvider,
    kek: &KekReference,
    record: &KeyRecord,
) -> Result<(), Box<dyn std::error::Error>> {
    let key = KeyMaterial::random()?;
    allowed.provider().wrap(kek, &record.context, &key).await?;
    Ok(())
}
