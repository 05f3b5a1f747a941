//! Each provider: whether it opens, and what of the ring it opens.

use std::collections::BTreeMap;

use phield_core::config::Config;
use phield_core::{
    KekReference, KeyId, Manifest, ProviderName, RingError, RingSettings, VerifiedRing, WrapCheck,
    WrapOutcome,
};

use super::finding::{Area, Findings};
use crate::Host;
use crate::text::{chain, ids};
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
    for ((provider, kek, outcome), checks) in &by_outcome {
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
        missing(settings, verified.manifest(), findings);
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
    let count = keys.len();
    let what = format!("{provider} {kek}: {outcome} ({count} keys){why}");
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

/// Key-encryption keys of the configuration under which some keys are not wrapped.
fn missing(settings: &RingSettings, manifest: &Manifest, findings: &mut Findings) {
    for allowed in &settings.providers {
        let name = allowed.provider().name();
        for kek in allowed.keks() {
            let lacks = |record: &&phield_core::KeyRecord| {
                let is_plain =
                    |wrap: &phield_core::Wrap| wrap.provider.as_str() != "split" && !wrap.bytes.is_empty();
                record.state.opens()
                    && record.wraps.iter().all(is_plain)
                    && !record
                        .wraps
                        .iter()
                        .any(|wrap| wrap.provider == *name && wrap.kek == *kek)
            };
            let keys: Vec<_> = manifest.records.iter().filter(lacks).collect();
            if keys.is_empty() {
                continue;
            }
            findings.warning(
                Area::Keys,
                format!("{} keys have no wrap under {name} {kek}", keys.len()),
                "This key-encryption key does not stand in for the others: not in an outage, and not when they are lost.",
                format!("phield keys wrap add --provider {name} --kek '{kek}'"),
            );
        }
    }
}
