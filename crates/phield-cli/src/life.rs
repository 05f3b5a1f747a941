//! `phield keys add`, `activate` and `retire`.

use clap::ValueEnum;
use phield_core::config::Config;
use phield_core::{
    KeyId, KeyState, KeyUse, Manifest, Retirement, Ring, Rollout, ScopeName, Suite, VerifiedRing,
};
use serde::Serialize;

use crate::init::SuiteChoice;
use crate::keys::{RingArguments, key_id, pin};
use crate::text::{now, utc};
use crate::{Error, Host, backup};

/// Arguments of `phield keys add`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct AddArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// What the key is for
    #[arg(long = "use", value_enum, default_value_t = UseChoice::Data)]
    pub key_use: UseChoice,
    /// The tenant or group of tables that it serves, by its name in the configuration [default: none]
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,
    /// The cipher of a data key [default: that of the active one]
    #[arg(long, value_enum)]
    pub suite: Option<SuiteChoice>,
    /// Add one more, even if there is a pre-active key already
    #[arg(long)]
    pub another: bool,
}

/// What keys are for, by the names of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum UseChoice {
    /// Seals fields
    Data,
    /// The pepper of blind indexes
    Index,
    /// The pepper of UIDs
    Uid,
    /// Wraps the secrets of subjects
    Subject,
    /// Authenticates the ring
    Ring,
}

impl From<UseChoice> for KeyUse {
    fn from(choice: UseChoice) -> Self {
        match choice {
            UseChoice::Data => Self::Data,
            UseChoice::Index => Self::Index,
            UseChoice::Uid => Self::Uid,
            UseChoice::Subject => Self::Subject,
            UseChoice::Ring => Self::Ring,
        }
    }
}

/// Arguments of `phield keys activate`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct ActivateArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The key
    #[arg(value_name = "ID", value_parser = key_id)]
    pub id: KeyId,
    /// Do not wait: every instance that uses the ring was seen to have the key
    #[arg(long)]
    pub acknowledged_by_every_instance: bool,
}

/// Arguments of `phield keys retire`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct RetireArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The key
    #[arg(value_name = "ID", value_parser = key_id)]
    pub id: KeyId,
    /// Somebody else may have it: its successor takes over at once, waited for or not
    #[arg(long, conflicts_with = "acknowledged_by_every_instance")]
    pub compromised: bool,
    /// The pre-active key that takes over [default: the youngest that has waited long enough]
    #[arg(long, value_name = "ID", value_parser = key_id)]
    pub successor: Option<KeyId>,
    /// Do not wait: every instance that uses the ring was seen to have the successor
    #[arg(long)]
    pub acknowledged_by_every_instance: bool,
    /// Nothing takes over: nothing is sealed in its scope until another key is activated
    #[arg(long, conflicts_with = "successor")]
    pub leave_none: bool,
}

/// What a change did.
#[derive(Serialize)]
struct Changed {
    key: String,
    state: &'static str,
    /// Whether the key was made now.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_new: Option<bool>,
    /// The key that is active in the place of a retired one.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    /// The pre-active key that can take the next place.
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    /// What configuration pins of a ring key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    /// Without an epoch witness: what `min_epoch` has to become now.
    #[serde(skip_serializing_if = "Option::is_none")]
    raise_min_epoch: Option<u64>,
    /// The replacement became active before every process could know it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    too_soon: bool,
    epoch: u64,
    backup: String,
}

pub(crate) async fn add(arguments: &AddArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let key_use = KeyUse::from(arguments.key_use);
    let scope = arguments.scope.clone().map(ScopeName::new).transpose()?;
    let suite = match key_use {
        KeyUse::Data => Some(match arguments.suite {
            Some(suite) => suite.into(),
            None => suite_of(ring.load().await?.manifest(), scope.as_ref()),
        }),
        _ => None,
    };
    let (id, is_new) = if arguments.another {
        (ring.add_key(key_use, suite, scope).await?, true)
    } else {
        let successor = ring.successor(key_use, suite, scope).await?;
        (successor.key_id, successor.is_new)
    };
    let verified = ring.load().await?;
    let changed = Changed {
        is_new: Some(is_new),
        ..Changed::new(id, &verified, &arguments.ring, (&config, &ring), host).await?
    };
    let ready = verified.manifest().record(id).map_or(0, |record| {
        record
            .created
            .saturating_add(ring.settings.cache.fleet_wait().as_secs())
    });
    let next = match &changed.pin {
        Some(pin) => ring_key_steps(id, pin, &ring),
        None => String::new(),
    };
    let text = format!(
        "Key {id} ({key_use}) is pre-active{}, in epoch {}; every wrap of it opens.\n{}\n{next}{}: phield keys activate {id}",
        if is_new { "" } else { ", and was so before" },
        changed.epoch,
        changed.backup,
        if ready > now() {
            format!("Every process knows it from {} on; then", utc(ready))
        } else {
            "Every process knows it by now; next".to_owned()
        },
    );
    changed.print(&text, arguments.ring.json, host)
}

pub(crate) async fn activate(arguments: &ActivateArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let (id, rollout) = (arguments.id, rollout(arguments.acknowledged_by_every_instance));
    let verified = ring.activate(id, rollout).await?;
    let (verified, successor) = next_successor(&ring, verified, id).await?;
    let changed = Changed {
        successor: successor.map(|id| id.to_string()),
        ..Changed::new(id, &verified, &arguments.ring, (&config, &ring), host).await?
    };
    let changed = changed.with_floor(&config, |changed| changed.pin.is_some());
    let mut text = format!(
        "Key {id} is active, in epoch {}.{}\n{}",
        changed.epoch,
        after(successor),
        changed.backup
    );
    if let Some(pin) = &changed.pin {
        text += &format!(
            "\nLast step, once every process has loaded this ring: pin the new ring key alone, and raise min_epoch to {}.\n  \
             ring_key = \"{pin}\"",
            changed.epoch
        );
    }
    text += &changed.floor();
    changed.print(&text, arguments.ring.json, host)
}

pub(crate) async fn retire(arguments: &RetireArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let id = arguments.id;
    let into = if arguments.compromised {
        Retirement::Compromised
    } else {
        Retirement::DecryptOnly(rollout(arguments.acknowledged_by_every_instance))
    };
    let (verified, replaced_by, too_soon) = if arguments.leave_none {
        let next = if arguments.compromised {
            KeyState::Compromised
        } else {
            KeyState::DecryptOnly
        };
        (ring.retire_without_successor(id, next).await?, None, false)
    } else {
        let retired = ring.retire(id, into, arguments.successor).await?;
        (retired.ring, retired.successor, retired.too_soon)
    };
    let (verified, successor) = match replaced_by {
        Some(active) => next_successor(&ring, verified, active).await?,
        None => (verified, None),
    };
    let changed = Changed {
        replaced_by: replaced_by.map(|id| id.to_string()),
        successor: successor.map(|id| id.to_string()),
        too_soon,
        ..Changed::new(id, &verified, &arguments.ring, (&config, &ring), host).await?
    };
    let changed = changed.with_floor(&config, |changed| arguments.compromised || changed.pin.is_some());
    let mut text = format!("Key {id} is {}, in epoch {}.", changed.state, changed.epoch);
    match replaced_by {
        Some(active) => text += &format!(" Key {active} is active in its place.{}", after(successor)),
        None if arguments.leave_none => text += " Nothing takes its place.",
        None => {}
    }
    if too_soon {
        text += "\nWARNING: not every process can know the new key yet. Restart the instances now: until an instance has it, \
                 it does not open what others seal.";
    }
    if arguments.compromised {
        text += "\nWhat the key sealed stays readable for whoever has it: re-seal it under the new key.";
    }
    text += &changed.floor();
    changed.print(&format!("{text}\n{}", changed.backup), arguments.ring.json, host)
}

/// What whoever has no epoch witness has to do after a change that must not be undone.
pub(crate) fn min_epoch_now(epoch: u64) -> String {
    format!(
        "\nThere is no epoch witness: set min_epoch = {epoch} in the configuration of every process now (or PHIELD_MIN_EPOCH). \
         Until then the ring of before can be put back, with the key as it was."
    )
}

fn rollout(acknowledged: bool) -> Rollout {
    if acknowledged {
        Rollout::AcknowledgedByEveryInstance
    } else {
        Rollout::Waited
    }
}

fn after(successor: Option<KeyId>) -> String {
    successor.map_or_else(String::new, |id| format!(" Its successor, pre-active, is {id}."))
}

/// How a ring key takes the place of the one before (format §8.2).
fn ring_key_steps(id: KeyId, pin: &str, ring: &Ring) -> String {
    let mut pins = ring.settings.pins.iter();
    let old = pins.find(|old| old.key_id() != id).map(ToString::to_string);
    let old = old.unwrap_or_else(|| "the pin of the old one".to_owned());
    format!(
        "Its pin is {pin}. It authenticates nothing yet. Each step once every process has the one before:\n\n  \
         1. ring_key = [\"{old}\", \"{pin}\"]\n  \
         2. ring_key = [\"{pin}\", \"{old}\"], in this configuration, too\n  \
         3. phield keys activate {id}\n  \
         4. ring_key = \"{pin}\", and min_epoch as step 3 says\n\n"
    )
}

/// The suite of the active data key of a scope.
fn suite_of(manifest: &Manifest, scope: Option<&ScopeName>) -> Suite {
    let mut records = manifest.records.iter();
    let active = records.find(|record| {
        record.state.seals()
            && record.context.key_use == KeyUse::Data
            && record.context.scope.as_ref() == scope
    });
    active
        .and_then(|record| record.context.suite)
        .unwrap_or(Suite::Aes256Gcm)
}

/// Every data scope keeps one pre-active successor, so that a compromised key is replaced at once (I-8).
pub(crate) async fn next_successor(
    ring: &Ring,
    verified: VerifiedRing,
    active: KeyId,
) -> Result<(VerifiedRing, Option<KeyId>), Error> {
    let context = verified
        .manifest()
        .record(active)
        .map(|record| record.context.clone());
    let Some(context) = context.filter(|context| context.key_use == KeyUse::Data) else {
        return Ok((verified, None));
    };
    let made = async {
        let successor = ring
            .successor(context.key_use, context.suite, context.scope)
            .await?;
        Ok((ring.load().await?, Some(successor.key_id)))
    };
    made.await.map_err(|source: Error| Error::AfterChange {
        then: "the active key has no successor (`phield keys add`)",
        source: Box::new(source),
    })
}

impl Changed {
    async fn new(
        id: KeyId,
        verified: &VerifiedRing,
        arguments: &RingArguments,
        (config, ring): (&Config, &Ring),
        host: &Host<'_>,
    ) -> Result<Self, Error> {
        let manifest = verified.manifest();
        let backup = backup::refresh((&arguments.config, config), ring, verified, host).await?;
        Ok(Self {
            key: id.to_string(),
            state: manifest
                .record(id)
                .map_or("unknown", |record| record.state.as_str()),
            is_new: None,
            replaced_by: None,
            successor: None,
            pin: manifest.record(id).and_then(pin),
            raise_min_epoch: None,
            too_soon: false,
            epoch: manifest.epoch,
            backup,
        })
    }

    /// Format §8.2: without an epoch witness `min_epoch` alone keeps the ring of before out.
    fn with_floor(self, config: &Config, matters: impl FnOnce(&Self) -> bool) -> Self {
        let is_bare = config.epoch_witness.is_none() && matters(&self);
        Self {
            raise_min_epoch: is_bare.then_some(self.epoch),
            ..self
        }
    }

    fn floor(&self) -> String {
        self.raise_min_epoch.map_or_else(String::new, min_epoch_now)
    }

    fn print(&self, text: &str, json: bool, host: &mut Host<'_>) -> Result<(), Error> {
        if json {
            host.print_json(self)
        } else {
            host.print(text)
        }
    }
}
