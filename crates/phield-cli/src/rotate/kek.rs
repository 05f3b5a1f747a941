//! `phield rotate kek`: every key under another key-encryption key.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use phield_core::{Rekek, RekekPlan, RekekProgress, Rekeked, Ring};
use serde::Serialize;

use crate::keys::RingArguments;
use crate::text::{chain, count};
use crate::wraps::names;
use crate::{Error, Host, backup};

/// How often a person is told how far it is.
const TELL: Duration = Duration::from_millis(500);

/// Arguments of `phield rotate kek`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct RotateKekArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The provider of the old key-encryption key, by its name in the wraps
    #[arg(long, value_name = "NAME")]
    pub from_provider: String,
    /// The old key-encryption key: a key file id, a key ARN, token-label/object-label
    #[arg(long, value_name = "REFERENCE")]
    pub from_kek: String,
    /// The provider of the new key-encryption key, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub to_provider: String,
    /// The new key-encryption key, which the configuration has in keks
    #[arg(long, value_name = "REFERENCE")]
    pub to_kek: String,
    /// Every process that uses the ring has the new key-encryption key in its configuration: take the old wraps away, too. Without it
    /// the new wraps are added, and every process opens the ring
    #[arg(long)]
    pub configured_everywhere: bool,
    /// Say what there is to do, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How many keys are published in one update of the ring
    #[arg(long, value_name = "KEYS", default_value_t = 500)]
    pub batch: usize,
    /// How many calls of providers are under way at a time
    #[arg(long, value_name = "CALLS", default_value_t = 16)]
    pub concurrent: usize,
    /// The most calls of providers in a second [default: as many as they answer]
    #[arg(long, value_name = "CALLS")]
    pub rate: Option<u32>,
}

/// What is to be done, or was.
#[derive(Serialize)]
struct Listing {
    from: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_wrap: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_remove: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<usize>,
    calls: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    excluded: Vec<String>,
    failed: Vec<Failed>,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
}

/// A key that stayed as it was.
#[derive(Serialize)]
struct Failed {
    key: String,
    error: String,
}

impl RotateKekArguments {
    fn rekek(&self) -> Result<Rekek, Error> {
        let mut rekek = Rekek::new(
            names(&self.from_provider, &self.from_kek)?,
            names(&self.to_provider, &self.to_kek)?,
        );
        rekek.keep_old = !self.configured_everywhere;
        rekek.batch = self.batch;
        rekek.concurrent = self.concurrent;
        rekek.calls_per_second = self.rate;
        Ok(rekek)
    }

    fn from(&self) -> String {
        format!("{} {}", self.from_provider, self.from_kek)
    }

    fn to(&self) -> String {
        format!("{} {}", self.to_provider, self.to_kek)
    }
}

/// What [`run`] would do.
pub(crate) async fn plan(arguments: &RotateKekArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (_, ring) = arguments.ring.open(host).await?;
    let plan = ring.plan_rekek(&arguments.rekek()?).await?;
    if arguments.ring.json {
        return host.print_json(&Listing {
            from: arguments.from(),
            to: arguments.to(),
            to_wrap: Some(plan.to_wrap.len()),
            to_remove: Some(plan.to_remove.len()),
            done: None,
            calls: plan.calls() as u64,
            seconds: None,
            excluded: plan.excluded.iter().map(ToString::to_string).collect(),
            failed: Vec::new(),
            epoch: plan.epoch,
            backup: None,
        });
    }
    host.print(plan_text(arguments, &plan))
}

fn plan_text(arguments: &RotateKekArguments, plan: &RekekPlan) -> String {
    let (from, to) = (arguments.from(), arguments.to());
    let mut text = if plan.keys() == 0 && arguments.configured_everywhere {
        format!("No key has a wrap under {from}: there is nothing to do.")
    } else if plan.keys() == 0 {
        format!("No key has a wrap under {from} alone. To take those away: --configured-everywhere.")
    } else {
        let mut text = format!(
            "{} under {from}: {} to be wrapped under {to}, {} that {} both wraps already, of an interrupted run.\n\
             That takes {} of providers, and those that open the ring key for each batch. Rows are not touched.",
            count(plan.keys(), "key"),
            plan.to_wrap.len(),
            plan.to_remove.len(),
            if plan.to_remove.len() == 1 { "has" } else { "have" },
            count(plan.calls(), "call"),
        );
        if let Some(rate) = arguments.rate {
            let seconds = (plan.calls() as u64).div_ceil(u64::from(rate.max(1)));
            text += &format!(" At {rate} calls a second: {seconds} seconds.");
        }
        text
    };
    text += &excluded(
        plan.excluded
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .as_slice(),
    );
    text + "\nNothing was changed. To do it, leave out --dry-run."
}

pub(crate) async fn run(arguments: &RotateKekArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let rekek = arguments.rekek()?;
    let begun = Instant::now();
    let mut teller = Teller::new(arguments.ring.json);
    let done = ring.rekek(&rekek, &mut |progress| teller.tell(progress)).await;
    teller.end();
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            // What it did before is in the ring: it has to be in the backup.
            if let Ok(verified) = ring.load().await {
                backup::refresh((&arguments.ring.config, &config), &ring, &verified, host).await?;
            }
            return Err(error.into());
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let backup = backup::refresh((&arguments.ring.config, &config), &ring, &done.ring, host).await?;
    let failed = done.failed.iter().map(|(id, error)| Failed {
        key: id.to_string(),
        error: chain(error),
    });
    let listing = Listing {
        from: arguments.from(),
        to: arguments.to(),
        to_wrap: None,
        to_remove: None,
        done: Some(done.done),
        calls: done.calls,
        seconds: Some(seconds),
        excluded: done.excluded.iter().map(ToString::to_string).collect(),
        failed: failed.collect(),
        epoch: done.ring.manifest().epoch,
        backup: Some(backup),
    };
    if arguments.ring.json {
        host.print_json(&listing)?;
    } else {
        host.print(listing.text(&ring, &rekek, &done))?;
    }
    match done.failed.len() {
        0 => Ok(()),
        keys => Err(Error::KeysLeft { keys }),
    }
}

impl Listing {
    fn text(&self, ring: &Ring, rekek: &Rekek, done: &Rekeked) -> String {
        let mut text = format!(
            "{} {} wrapped under {} and {} under {}, in epoch {}; each was opened as it is stored.\n{} of providers in {:.1} s.",
            count(done.done, "key"),
            if done.done == 1 { "is" } else { "are" },
            self.to,
            if rekek.keep_old { "still" } else { "no more" },
            self.from,
            self.epoch,
            count(usize::try_from(self.calls).unwrap_or(usize::MAX), "call"),
            self.seconds.unwrap_or(0.0),
        );
        for failed in &self.failed {
            text += &format!("\nKey {} stays as it was: {}", failed.key, failed.error);
        }
        text += &excluded(&self.excluded);
        if rekek.keep_old {
            text += &format!(
                "\nNext: {} into keks of the configuration of every process, and restart them; then the same command with \
                 --configured-everywhere takes the old wraps away.",
                self.to
            );
            return format!("{text}\n{}", self.backup.as_deref().unwrap_or_default());
        }
        let (provider, kek) = &rekek.from;
        let mut providers = ring.settings.providers.iter();
        let is_configured =
            providers.any(|allowed| allowed.provider().name() == provider && allowed.keks().contains(kek));
        if self.failed.is_empty() && is_configured {
            text += &format!(
                "\nThe configuration still has {}: take it out of keks, or new keys are wrapped under it.",
                self.from
            );
        }
        text += "\nOlder backups of the ring open by the old key-encryption key alone: keep it until they are gone.";
        format!("{text}\n{}", self.backup.as_deref().unwrap_or_default())
    }
}

fn excluded(keys: &[String]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    format!(
        "\nUnder dual control with a share under it, and left as they are: {}. Make new keys in their place (`phield keys add`), \
         and destroy these.",
        keys.join(", ")
    )
}

/// Tells a person at a terminal how far it is.
struct Teller {
    is_on: bool,
    last: Option<Instant>,
    begun: Instant,
}

impl Teller {
    fn new(json: bool) -> Self {
        Self {
            is_on: !json && io::stderr().is_terminal(),
            last: None,
            begun: Instant::now(),
        }
    }

    fn tell(&mut self, progress: &RekekProgress) {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= TELL);
        if !self.is_on || !is_due {
            return;
        }
        self.last = Some(Instant::now());
        let rate = progress.calls as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        // Nothing depends on it.
        let _ = write!(
            io::stderr(),
            "\r{} of {} keys done, {} wrapped; {rate:.0} calls a second ",
            progress.done,
            progress.keys,
            progress.wrapped
        );
    }

    fn end(&self) {
        if self.last.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}
