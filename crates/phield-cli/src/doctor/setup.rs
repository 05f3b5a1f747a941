//! What configuration says that works, and that somebody may regret.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use phield_core::config::{Config, ProviderConfig};
use phield_core::{CachePolicy, DataKeyPolicy, KeyRecord, Manifest, Wrap};
use serde::Deserialize;

use super::finding::{Area, Findings};
use crate::text::count;

/// A hard TTL above this is said to be long.
const LONG_HARD_TTL: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    check_data_keys(config, findings);
    if config.backup.is_none() {
        findings.warning(
            Area::Backup,
            "no [backup] is configured",
            "A key can become active that no backup holds: if the ring is lost, so is all that it seals.",
            "Name the file of the backup in [backup], and run `phield keys backup`.",
        );
    }
    if config.epoch_witness.is_none() {
        findings.note(
            Area::Configuration,
            "there is no epoch witness: min_epoch alone keeps old rings out",
            "An old ring of min_epoch or above can be put back unnoticed.",
            "Raise min_epoch after every change of the ring, or configure [epoch_witness] where there is a disk that stays.",
        );
    }
    check_cache(config, findings);
}

/// Whether one loss loses everything (I-9): by the wraps that the keys have, where the ring is there; a key-encryption key that
/// is kept offline is in wraps, and not in configuration.
pub(super) fn check_keks(config: &Config, manifest: Option<&Manifest>, findings: &mut Findings) {
    if config.dual_control.is_some() || config.single_kek_accepted {
        return;
    }
    let keks = config.providers.iter().flat_map(|provider| {
        let keks = provider.keks.iter();
        keks.map(|kek| (provider.name.as_str(), kek.as_str()))
    });
    let keks: BTreeSet<_> = keks.collect();
    let mut places = keks
        .iter()
        .map(|kek| place(config, *kek))
        .collect::<BTreeSet<_>>()
        .into_iter();
    let (Some(only), None) = (places.next(), places.next()) else {
        // Keys that lack one of several are told by provider.
        return;
    };
    let records = manifest.map_or(&[][..], |manifest| &manifest.records);
    let plain = |record: &&KeyRecord| {
        let is_plain = |wrap: &Wrap| wrap.provider.as_str() != "split" && !wrap.bytes.is_empty();
        record.state.opens() && record.wraps.iter().all(is_plain)
    };
    let has_other = |record: &&KeyRecord| {
        let wraps = record.wraps.iter();
        let mut places = wraps.map(|wrap| place(config, (wrap.provider.as_str(), wrap.kek.as_str())));
        places.any(|place| place != only)
    };
    let keys = records.iter().filter(plain).count();
    let safe = records.iter().filter(plain).filter(has_other).count();
    if keys > 0 && safe == keys {
        return;
    }
    findings.warning(
        Area::Configuration,
        match (safe, keks.len()) {
            (0, 1) => "every key is wrapped under one key-encryption key".to_owned(),
            (0, keks) => format!("{keks} key-encryption keys are lost together: they are in {only}"),
            (_, _) => format!("{} of {keys} have no wrap but in {only}", count(keys - safe, "key")),
        },
        "If that one is lost, or its provider is, everything that was sealed is lost for ever.",
        "Add a second provider, a key in another account or a break-glass key file kept offline, to keks, then run `phield \
         keys wrap add`. If you accept the risk: single_kek_accepted = true.",
    );
}

/// What is lost with a key-encryption key of a wrap: of a provider that configuration does not have, it alone.
fn place(config: &Config, (name, kek): (&str, &str)) -> String {
    let provider = config.providers.iter().find(|provider| provider.name == name);
    provider.map_or_else(
        || format!("the provider {name}, as {kek}"),
        |provider| place_of(config, provider, kek),
    )
}

/// What is lost with a key-encryption key, if anything is: its key file, its token, its multi-region key (I-9).
fn place_of(config: &Config, provider: &ProviderConfig, kek: &str) -> String {
    #[derive(Deserialize)]
    struct KeyFile {
        key_file: PathBuf,
    }
    match provider.kind() {
        "local" => match provider.options::<KeyFile>() {
            Ok(KeyFile { key_file }) => {
                let path = config.folder().join(key_file);
                let path = path.canonicalize().unwrap_or(path);
                format!("the key file {}", path.display())
            }
            Err(_) => format!("the provider {}", provider.name),
        },
        "pkcs11" => {
            let token = kek.split_once('/').map_or(kek, |(token, _)| token);
            format!("the token {token}")
        }
        // Replicas of a multi-region key are one key: who schedules its deletion in one place is asked in each, and its
        // policy and account are often the same.
        "aws-kms" => match kek.split_once(":key/mrk-") {
            Some((_, id)) => format!("the multi-region key mrk-{id}"),
            None => format!("the KMS key {kek}"),
        },
        _ => format!("the provider {}, as {kek}", provider.name),
    }
}

fn check_data_keys(config: &Config, findings: &mut Findings) {
    let policy = config
        .data_keys
        .as_ref()
        .and_then(|data_keys| DataKeyPolicy::new(data_keys.days, data_keys.tokens_per_second).ok());
    if policy.is_some_and(DataKeyPolicy::is_above_advice) {
        findings.warning(
            Area::Configuration,
            "[data_keys] lets one key seal more than 2^32 fields",
            "That is allowed, and less margin than is advised.",
            "Activate new data keys more often: fewer days, or the true tokens_per_second.",
        );
    }
}

fn check_cache(config: &Config, findings: &mut Findings) {
    let Some(cache) = &config.cache else { return };
    let default = CachePolicy::default().hard_ttl().as_secs();
    let hard_ttl = Duration::from_secs(cache.hard_ttl_seconds.unwrap_or(default));
    if hard_ttl > LONG_HARD_TTL {
        let hours = hard_ttl.as_secs() / 3600;
        findings.warning(
            Area::Cache,
            format!("keys are kept for {hours} hours without their provider (hard_ttl_seconds)"),
            format!(
                "A process that was cut off keeps its keys that long after its access was taken away, and a new key waits {hours} \
                 hours before it becomes active."
            ),
            "Keep it if an outage of that length must not stop you; otherwise lower it.",
        );
    }
}
