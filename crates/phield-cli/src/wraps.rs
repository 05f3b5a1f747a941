//! `phield keys wrap` and `phield keys check`.

use std::collections::BTreeMap;

use phield_core::{KekReference, KeyId, KeySelection, ProviderName, RingError, WrapCheck, WrapOutcome};
use serde::Serialize;

use crate::keys::{RingArguments, key_id};
use crate::text::{chain, count, ids, table};
use crate::{Error, Host, backup};

/// The verbs of `phield keys wrap`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum WrapCommand {
    /// Wrap keys under one more key-encryption key of the configuration
    ///
    /// Each key is opened by a wrap that it has, wrapped, opened again, stored, and opened from what was stored. Keys that
    /// have such a wrap already stay as they are: a run that was interrupted can be repeated.
    Add(WrapAddArguments),
    /// Take the wraps under a key-encryption key away, of every key
    ///
    /// Only if each of those keys opens by another wrap at this moment: never the last one.
    Remove(WrapRemoveArguments),
}

/// Arguments of `phield keys wrap add`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct WrapAddArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The provider, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The key-encryption key: a key file id, a key ARN, token-label/object-label
    #[arg(long, value_name = "REFERENCE")]
    pub kek: String,
    /// A key; can be repeated [default: every key]
    #[arg(long = "key", value_name = "ID", value_parser = key_id)]
    pub keys: Vec<KeyId>,
}

/// Arguments of `phield keys wrap remove`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct WrapRemoveArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The provider, by its name in the wraps
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The key-encryption key
    #[arg(long, value_name = "REFERENCE")]
    pub kek: String,
}

/// Arguments of `phield keys check`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct CheckArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
}

/// What a change of wraps did.
#[derive(Serialize)]
struct Changed<'a> {
    provider: &'a str,
    kek: &'a str,
    changed: Vec<String>,
    unchanged: Vec<String>,
    excluded: Vec<String>,
    epoch: u64,
    backup: String,
}

/// One wrap as it is reported.
#[derive(Serialize)]
struct CheckListing {
    key: String,
    #[serde(rename = "use")]
    key_use: &'static str,
    state: &'static str,
    provider: String,
    kek: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn add(arguments: &WrapAddArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (provider, kek) = names(&arguments.provider, &arguments.kek)?;
    let keys = match arguments.keys.as_slice() {
        [] => KeySelection::All,
        keys => KeySelection::These(keys.to_vec()),
    };
    let (config, ring) = arguments.ring.open(host).await?;
    let done = ring.add_wrap(&provider, &kek, &keys).await?;
    let backup = backup::refresh((&arguments.ring.config, &config), &ring, &done.ring, host).await?;
    let mut text = format!(
        "Wrapped {} under {provider} {kek}, in epoch {}; every new wrap opens as it is stored.",
        count(done.changed.len(), "key"),
        done.ring.manifest().epoch
    );
    if !done.unchanged.is_empty() {
        text += &format!(
            "\n{} had such a wrap before; it opens.",
            count(done.unchanged.len(), "key")
        );
    }
    if !done.excluded.is_empty() {
        text += &format!(
            "\nUnder dual control or held by a device, and left out: {}.",
            ids(&done.excluded)
        );
    }
    let changed = Changed {
        provider: provider.as_str(),
        kek: kek.as_str(),
        changed: texts(&done.changed),
        unchanged: texts(&done.unchanged),
        excluded: texts(&done.excluded),
        epoch: done.ring.manifest().epoch,
        backup,
    };
    changed.print(&text, arguments.ring.json, host)
}

pub(crate) async fn remove(arguments: &WrapRemoveArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (provider, kek) = names(&arguments.provider, &arguments.kek)?;
    let (config, ring) = arguments.ring.open(host).await?;
    let done = ring.remove_wrap(&provider, &kek).await?;
    let backup = backup::refresh((&arguments.ring.config, &config), &ring, &done.ring, host).await?;
    let mut text = format!(
        "Took the wraps of {} under {provider} {kek} away, in epoch {}; each opens by another.",
        count(done.changed.len(), "key"),
        done.ring.manifest().epoch
    );
    let mut providers = ring.settings.providers.iter();
    if providers.any(|allowed| *allowed.provider().name() == provider && allowed.keks().contains(&kek)) {
        text += "\nThe configuration still has it: take it out of keks, or new keys are wrapped under it.";
    }
    text += "\nOlder backups still hold the wraps that were taken away.";
    let changed = Changed {
        provider: provider.as_str(),
        kek: kek.as_str(),
        changed: texts(&done.changed),
        unchanged: Vec::new(),
        excluded: Vec::new(),
        epoch: done.ring.manifest().epoch,
        backup,
    };
    changed.print(&text, arguments.ring.json, host)
}

pub(crate) async fn check(arguments: &CheckArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (_, ring) = arguments.ring.open(host).await?;
    let verified = ring.load().await?;
    let checks = verified.check(&ring.settings).await;
    let listings: Vec<_> = checks
        .iter()
        .filter_map(|check| {
            let record = verified.manifest().record(check.key_id)?;
            Some(CheckListing {
                key: check.key_id.to_string(),
                key_use: record.context.key_use.as_str(),
                state: record.state.as_str(),
                provider: check.provider.to_string(),
                kek: check.kek.to_string(),
                outcome: check.outcome.as_str(),
                error: check.error.as_ref().map(|error| chain(error)),
            })
        })
        .collect();
    if arguments.ring.json {
        host.print_json(&listings)?;
    } else {
        let head = ["KEY", "USE", "STATE", "PROVIDER", "KEK", "OUTCOME"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head)
            .chain(listings.iter().map(CheckListing::row))
            .collect();
        host.print(table(&rows))?;
    }
    let bad = |check: &&WrapCheck| !matches!(check.outcome, WrapOutcome::Opens | WrapOutcome::NotConfigured);
    let (wraps, keys) = (checks.iter().filter(bad).count(), closed(&checks).len());
    if wraps == 0 && keys == 0 {
        Ok(())
    } else {
        Err(Error::Wraps { wraps, keys })
    }
}

/// The keys of which no wrap opens.
pub(crate) fn closed(checks: &[WrapCheck]) -> Vec<KeyId> {
    let mut opens = BTreeMap::new();
    for check in checks {
        *opens.entry(check.key_id).or_insert(false) |= check.outcome == WrapOutcome::Opens;
    }
    let closed = opens.into_iter().filter(|(_, opens)| !opens);
    closed.map(|(id, _)| id).collect()
}

pub(crate) fn names(provider: &str, kek: &str) -> Result<(ProviderName, KekReference), Error> {
    let kek = KekReference::new(kek).ok_or(phield_core::config::ConfigError::KekReference);
    Ok((ProviderName::new(provider)?, kek.map_err(RingError::from)?))
}

fn texts(ids: &[KeyId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

impl Changed<'_> {
    fn print(&self, text: &str, json: bool, host: &mut Host<'_>) -> Result<(), Error> {
        if json {
            host.print_json(self)
        } else {
            host.print(format_args!("{text}\n{}", self.backup))
        }
    }
}

impl CheckListing {
    fn row(&self) -> [String; 6] {
        let outcome = match &self.error {
            Some(error) => format!("{}: {error}", self.outcome),
            None => self.outcome.to_owned(),
        };
        [
            self.key.clone(),
            self.key_use.to_owned(),
            self.state.to_owned(),
            self.provider.clone(),
            self.kek.clone(),
            outcome,
        ]
    }
}
