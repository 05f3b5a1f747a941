//! `phield rotate ring`: the ring key is replaced, step by step (format §8.2).

use phield_core::{KeyId, KeyState, KeyUse, Manifest, Ring, RingKeyPin, Rollout, VerifiedRing};
use serde::Serialize;

use crate::keys::RingArguments;
use crate::text::utc;
use crate::{Error, Host, backup};

/// Arguments of `phield rotate ring`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct RotateRingArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// Begin: make the new ring key
    #[arg(long)]
    pub begin: bool,
    /// Every process was seen to run with ring_key = [new, old]: the new key may authenticate the ring
    #[arg(long)]
    pub pinned_everywhere: bool,
}

/// Where the replacement stands.
enum Stage {
    /// One pin, and no other key to come.
    Idle,
    /// A new key is there, and not pinned here.
    Made(KeyId),
    /// Pinned here behind the old one.
    PinnedSecond(KeyId),
    /// Pinned here in front of the old one, and not active.
    PinnedFirst(KeyId),
    /// Active, and an older one is still pinned here.
    Active(KeyId),
}

/// What there is to say.
#[derive(Serialize)]
struct Listing {
    /// How many of the five steps are done, as far as this configuration shows.
    steps_done: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    /// What was done now.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    next: String,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
}

pub(crate) async fn run(arguments: &RotateRingArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let verified = ring.load().await?;
    let (verified, done) = match stage(&ring, verified.manifest()) {
        Stage::Idle if arguments.begin => {
            let made = ring.successor(KeyUse::Ring, None, None).await?.key_id;
            let done =
                format!("Made key {made}, pre-active; every wrap of it opens. It authenticates nothing yet.");
            (ring.load().await?, Some(done))
        }
        Stage::PinnedFirst(id) if arguments.pinned_everywhere => {
            // Nobody could pin the key before it was published: whoever runs with the pin has read it.
            let active = ring.activate(id, Rollout::AcknowledgedByEveryInstance).await?;
            let done = format!(
                "Key {id} authenticates the ring from epoch {} on.",
                active.manifest().epoch
            );
            (active, Some(done))
        }
        _ => (verified, None),
    };
    let backup = match &done {
        Some(_) => Some(backup::refresh((&arguments.ring.config, &config), &ring, &verified, host).await?),
        None => None,
    };
    let mut listing = Listing::new(&ring, &verified);
    (listing.done, listing.backup) = (done, backup);
    if arguments.ring.json {
        return host.print_json(&listing);
    }
    host.print(listing.text())
}

fn stage(ring: &Ring, manifest: &Manifest) -> Stage {
    let pins = &ring.settings.pins;
    let state = |pin: &RingKeyPin| manifest.record(pin.key_id()).map(|record| record.state);
    if let [first, _, ..] = pins.as_slice() {
        return match (
            state(first),
            pins.iter().find(|pin| state(pin) == Some(KeyState::PreActive)),
        ) {
            (Some(KeyState::PreActive), _) => Stage::PinnedFirst(first.key_id()),
            (_, Some(new)) => Stage::PinnedSecond(new.key_id()),
            _ => Stage::Active(first.key_id()),
        };
    }
    let made = manifest
        .records
        .iter()
        .filter(|record| record.context.key_use == KeyUse::Ring && record.state == KeyState::PreActive);
    let youngest = made.max_by_key(|record| record.created);
    youngest.map_or(Stage::Idle, |record| Stage::Made(record.context.key_id))
}

impl Listing {
    fn new(ring: &Ring, verified: &VerifiedRing) -> Self {
        let manifest = verified.manifest();
        let stage = stage(ring, manifest);
        let (steps_done, key) = match stage {
            Stage::Idle => (0, None),
            Stage::Made(id) => (1, Some(id)),
            Stage::PinnedSecond(id) => (2, Some(id)),
            Stage::PinnedFirst(id) => (3, Some(id)),
            Stage::Active(id) => (4, Some(id)),
        };
        let pin = key
            .and_then(|id| manifest.record(id))
            .map(|record| RingKeyPin::of(record).to_string());
        Self {
            steps_done,
            key: key.map(|id| id.to_string()),
            next: next(ring, manifest, &stage, pin.as_deref().unwrap_or_default()),
            pin,
            done: None,
            epoch: manifest.epoch,
            backup: None,
        }
    }

    fn text(&self) -> String {
        let done = self.done.as_ref().map(|done| format!("{done}\n"));
        let stands = match self.steps_done {
            0 => "No replacement of the ring key is under way.".to_owned(),
            steps => format!("{steps} of 5 steps are done, as far as this configuration shows."),
        };
        let backup = self.backup.as_ref().map(|backup| format!("\n{backup}"));
        format!(
            "{}{stands}\nNext: {}{}",
            done.unwrap_or_default(),
            self.next,
            backup.unwrap_or_default()
        )
    }
}

/// The next step, in words.
fn next(ring: &Ring, manifest: &Manifest, stage: &Stage, pin: &str) -> String {
    let mut pins = ring.settings.pins.iter().map(ToString::to_string);
    let old = pins.find(|old| old != pin).unwrap_or_default();
    let again = "then `phield rotate ring` again.";
    match stage {
        Stage::Idle => {
            let active = ring
                .settings
                .pins
                .first()
                .and_then(|pin| manifest.record(pin.key_id()));
            let made = active.map_or_else(String::new, |record| {
                format!(" (key {}, made {})", record.context.key_id, utc(record.created))
            });
            format!("to replace the ring key{made}: phield rotate ring --begin")
        }
        Stage::Made(_) => format!(
            "ring_key = [\"{old}\", \"{pin}\"] in the configuration of every process, this one too, and restart them; {again}"
        ),
        Stage::PinnedSecond(_) => format!(
            "once every process runs with that: ring_key = [\"{pin}\", \"{old}\"] in the configuration of every process, this one \
             too, and restart them; {again}"
        ),
        Stage::PinnedFirst(_) => {
            "once every process runs with that: phield rotate ring --pinned-everywhere\nA process without the new pin does not \
             open the ring any more after that."
                .to_owned()
        }
        Stage::Active(_) => format!(
            "ring_key = \"{pin}\" and min_epoch = {} in the configuration of every process, this one too. Until then whoever has \
             the old ring key can put a ring of before back. Then the old one can be destroyed (`phield keys destroy`).",
            manifest.epoch
        ),
    }
}
