//! `phield status`: which keys are to be replaced, for people, machines and cron.

mod metrics;

use std::path::PathBuf;

use phield_core::{Ages, KekAge, KeyAge, KeyState, KeyUse, Manifest, Urgency, VerifiedRing};
use serde::Serialize;

use crate::keys::RingArguments;
use crate::text::{count, now, table, utc};
use crate::{Error, Host};

const DAY: u64 = 86_400;

/// Arguments of `phield status`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct StatusArguments {
    /// The configuration of the ring
    #[arg(long, value_name = "FILE", default_value = "phield.toml")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print metrics in the text format of Prometheus: for the textfile collector
    #[arg(long, conflicts_with = "json")]
    pub metrics: bool,
}

/// The keys and their ages.
#[derive(Serialize)]
struct Listing {
    app: String,
    ring: String,
    epoch: u64,
    overdue: usize,
    soon: usize,
    keys: Vec<KeyListing>,
    keks: Vec<KekListing>,
    /// What is to be done.
    reminders: Vec<String>,
}

#[derive(Serialize)]
struct KeyListing {
    id: String,
    #[serde(rename = "use")]
    key_use: &'static str,
    scope: Option<String>,
    state: &'static str,
    since: String,
    age_days: u64,
    policy_days: Option<u64>,
    due: Option<String>,
    urgency: &'static str,
}

#[derive(Serialize)]
struct KekListing {
    provider: String,
    kek: String,
    /// How many keys of the ring are wrapped under it.
    keys: usize,
    since: Option<String>,
    age_days: Option<u64>,
    policy_days: u64,
    due: Option<String>,
    urgency: &'static str,
}

pub(crate) async fn run(arguments: &StatusArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let ring = RingArguments {
        config: arguments.config.clone(),
        json: arguments.json,
    };
    let (_, ring) = ring.open(host).await?;
    let verified = ring.load().await?;
    let now = now();
    let ages = verified.ages(&ring.settings, now);
    let (overdue, soon) = (ages.count(Urgency::Overdue), ages.count(Urgency::Soon));
    if arguments.metrics {
        host.print(metrics::text(&verified, &ages, now).trim_end())?;
    } else {
        let listing = Listing::new(&verified, &ages, now);
        if arguments.json {
            host.print_json(&listing)?;
        } else {
            host.print(listing.text())?;
        }
    }
    match (overdue, soon) {
        (0, 0) => Ok(()),
        (overdue, soon) => Err(Error::Due { overdue, soon }),
    }
}

impl Listing {
    fn new(verified: &VerifiedRing, ages: &Ages, now: u64) -> Self {
        let manifest = verified.manifest();
        Self {
            app: manifest.app.to_string(),
            ring: manifest.ring.to_string(),
            epoch: manifest.epoch,
            overdue: ages.count(Urgency::Overdue),
            soon: ages.count(Urgency::Soon),
            keys: ages.keys.iter().map(|key| KeyListing::new(key, now)).collect(),
            keks: ages.keks.iter().map(|kek| KekListing::new(kek, now)).collect(),
            reminders: reminders(manifest, ages),
        }
    }

    fn text(&self) -> String {
        let head = ["KEY", "USE", "SCOPE", "STATE", "AGE", "POLICY", "DUE"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head)
            .chain(self.keys.iter().map(KeyListing::row))
            .collect();
        let keks = ["PROVIDER", "KEK", "KEYS", "AGE", "POLICY", "DUE"].map(str::to_owned);
        let keks: Vec<_> = std::iter::once(keks)
            .chain(self.keks.iter().map(KekListing::row))
            .collect();
        let mut text = format!(
            "app {}, ring {}, epoch {}\n\n{}\n\n{}\n",
            self.app,
            self.ring,
            self.epoch,
            table(&rows),
            table(&keks)
        );
        for reminder in &self.reminders {
            text += &format!("\n{reminder}");
        }
        text + &match (self.overdue, self.soon) {
            (0, 0) => "\nNothing is due.".to_owned(),
            (overdue, soon) => format!("\n{overdue} overdue, {soon} due soon."),
        }
    }
}

impl KeyListing {
    fn new(age: &KeyAge, now: u64) -> Self {
        Self {
            id: age.key_id.to_string(),
            key_use: age.key_use.as_str(),
            scope: age.scope.as_ref().map(ToString::to_string),
            state: age.state.as_str(),
            since: utc(age.since),
            age_days: now.saturating_sub(age.since) / DAY,
            policy_days: age.lifetime.map(|lifetime| lifetime.as_secs() / DAY),
            due: age.due.map(utc),
            urgency: age.urgency.as_str(),
        }
    }

    fn row(&self) -> [String; 7] {
        let due = self.due.clone().unwrap_or_else(|| "-".to_owned());
        [
            self.id.clone(),
            self.key_use.to_owned(),
            self.scope.clone().unwrap_or_else(|| "-".to_owned()),
            self.state.to_owned(),
            days(self.age_days),
            self.policy_days.map_or_else(|| "-".to_owned(), days),
            with_urgency(&due, self.urgency),
        ]
    }
}

impl KekListing {
    fn new(age: &KekAge, now: u64) -> Self {
        Self {
            provider: age.provider.to_string(),
            kek: age.kek.to_string(),
            keys: age.keys,
            since: age.since.map(utc),
            age_days: age.since.map(|since| now.saturating_sub(since) / DAY),
            policy_days: age.lifetime.as_secs() / DAY,
            due: age.due.map(utc),
            urgency: age.urgency.as_str(),
        }
    }

    fn row(&self) -> [String; 6] {
        let due = self.due.clone().unwrap_or_else(|| "-".to_owned());
        [
            self.provider.clone(),
            self.kek.clone(),
            self.keys.to_string(),
            self.age_days.map_or_else(|| "unknown".to_owned(), days),
            days(self.policy_days),
            with_urgency(&due, self.urgency),
        ]
    }
}

/// What is to be replaced, or is not known, and the command.
pub(crate) struct Reminder {
    pub(crate) what: String,
    pub(crate) command: String,
}

impl Reminder {
    fn text(&self) -> String {
        format!("{}: {}", self.what, self.command)
    }
}

/// What is urgent, and what is not known.
fn reminders(manifest: &Manifest, ages: &Ages) -> Vec<String> {
    let keys = ages.keys.iter().filter_map(|key| key_reminder(manifest, key));
    let keks = ages
        .keks
        .iter()
        .filter_map(|kek| kek_reminder(kek).or_else(|| unknown(kek)));
    keys.chain(keks).map(|reminder| reminder.text()).collect()
}

/// What there is to do about a key, if anything is.
pub(crate) fn key_reminder(manifest: &Manifest, age: &KeyAge) -> Option<Reminder> {
    let (id, key_use) = (age.key_id, age.key_use);
    if age.urgency == Urgency::Fine {
        return None;
    }
    if age.state == KeyState::Compromised {
        let mode = if key_use == KeyUse::Index {
            "pepper"
        } else {
            "data"
        };
        return Some(Reminder {
            what: format!("Key {id} ({key_use}) is compromised"),
            command: format!("phield rotate {mode}, then phield scan, then phield keys destroy {id}"),
        });
    }
    let successor = manifest.records.iter().find(|record| {
        record.state == KeyState::PreActive
            && (record.context.key_use, &record.context.scope) == (key_use, &age.scope)
    });
    let scope = age.scope.as_ref().map(|scope| format!(" --scope {scope}"));
    Some(Reminder {
        what: format!("Key {id} ({key_use}) {}", due(age.urgency, age.due)),
        command: match (key_use, successor) {
            (KeyUse::Ring, _) => "phield rotate ring".to_owned(),
            (_, Some(record)) => format!("phield keys activate {}", record.context.key_id),
            (_, None) => format!("phield keys add --use {key_use}{}", scope.unwrap_or_default()),
        },
    })
}

/// What there is to do about a key-encryption key, if anything is.
pub(crate) fn kek_reminder(age: &KekAge) -> Option<Reminder> {
    let (provider, kek) = (&age.provider, &age.kek);
    (age.urgency > Urgency::Fine).then(|| Reminder {
        what: format!("{provider} {kek} {}", due(age.urgency, age.due)),
        command: format!(
            "make a new key-encryption key, add it to the configuration, then phield rotate kek --from-provider {provider} \
             --from-kek '{kek}' --to-provider … --to-kek …"
        ),
    })
}

fn unknown(age: &KekAge) -> Option<Reminder> {
    let (provider, kek) = (&age.provider, &age.kek);
    age.since.is_none().then(|| Reminder {
        what: format!("{provider} {kek}: its age is not known here"),
        command: format!(
            "see when it was made, and note it in phield.toml, under [policy]: kek = [{{ provider = \"{provider}\", kek = \"{kek}\", \
             since = \"YYYY-MM-DD\" }}]"
        ),
    })
}

fn due(urgency: Urgency, due: Option<u64>) -> String {
    let due = due.map_or_else(|| "now".to_owned(), utc);
    match urgency {
        Urgency::Overdue => format!("was to be replaced by {due}"),
        _ => format!("is to be replaced by {due}"),
    }
}

fn with_urgency(due: &str, urgency: &str) -> String {
    match urgency {
        "fine" => due.to_owned(),
        _ => format!("{due} ({urgency})"),
    }
}

fn days(days: u64) -> String {
    count(usize::try_from(days).unwrap_or(usize::MAX), "day")
}
