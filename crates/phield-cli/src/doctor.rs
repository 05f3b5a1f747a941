//! `phield doctor`: what is wrong, what that means, and what to do. It changes nothing.

mod backup;
mod files;
mod finding;
mod keys;
mod machine;
mod providers;
mod ring;
mod setup;

use std::path::PathBuf;

use phield_core::config::Config;
use phield_core::{RingSettings, VerifiedRing};
use serde::Serialize;

pub use finding::Severity;

use crate::text::count;
use crate::{Error, Host};
use finding::{Area, Finding, Findings};

/// Arguments of `phield doctor`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct DoctorArguments {
    /// The configuration of the ring
    #[arg(long, value_name = "FILE", default_value = "phield.toml")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was found.
#[derive(Serialize)]
struct Report<'a> {
    app: Option<&'a str>,
    ring: Option<&'a str>,
    epoch: Option<u64>,
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

pub(crate) async fn run(arguments: &DoctorArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let mut findings = Findings::default();
    let config = read(arguments, &mut findings);
    let mut verified = None;
    if let Some(config) = &config {
        files::check(&arguments.config, config, &mut findings);
        setup::check(config, &mut findings);
        machine::check(config, &mut findings);
        let settings = providers::open(config, host, &mut findings).await;
        if let Some(settings) = &settings {
            verified = ring::read(config, settings, host, &mut findings).await;
        }
        let manifest = verified.as_ref().map(VerifiedRing::manifest);
        setup::check_keks(config, manifest, &mut findings);
        if let (Some(settings), Some(verified)) = (&settings, &verified) {
            check_ring(config, settings, verified, &mut findings).await;
        }
    }
    let findings = findings.sorted();
    let of = |severity| {
        let found = findings.iter().filter(|finding| finding.severity == severity);
        found.count()
    };
    let report = Report {
        app: config.as_ref().map(|config| config.app.as_str()),
        ring: config.as_ref().map(|config| config.ring.as_str()),
        epoch: verified.as_ref().map(|verified| verified.manifest().epoch),
        errors: of(Severity::Error),
        warnings: of(Severity::Warning),
        findings: &findings,
    };
    if arguments.json {
        host.print_json(&report)?;
    } else {
        host.print(report.text())?;
    }
    match (report.errors, report.warnings) {
        (0, 0) => Ok(()),
        (errors, warnings) => Err(Error::Findings { errors, warnings }),
    }
}

fn read(arguments: &DoctorArguments, findings: &mut Findings) -> Option<Config> {
    let config = Config::read(&arguments.config);
    config
        .map_err(|error| {
            findings.failed(
                Area::Configuration,
                &error,
                "Nothing can be opened without a configuration.",
                "Give --config FILE, or put right what the message says.",
            );
        })
        .ok()
}

async fn check_ring(
    config: &Config,
    settings: &RingSettings,
    verified: &VerifiedRing,
    findings: &mut Findings,
) {
    ring::check(config, verified, findings);
    keys::check(settings, verified.manifest(), findings);
    keys::check_ages(settings, verified, findings);
    providers::check(config, settings, verified, findings).await;
    backup::check(config, settings, verified, findings).await;
}

impl Report<'_> {
    fn text(&self) -> String {
        let name = |name: Option<&str>| name.unwrap_or("?").to_owned();
        let epoch = self.epoch.map_or("?".to_owned(), |epoch| epoch.to_string());
        let mut text = format!(
            "app {}, ring {}, epoch {epoch}\n\n",
            name(self.app),
            name(self.ring)
        );
        for finding in self.findings {
            text += &finding.text();
        }
        text += &match (self.errors, self.warnings) {
            (0, 0) => "Nothing is wrong: configuration, files, clock, providers, ring, keys, backup, cache settings, this \
                       machine."
                .to_owned(),
            (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
        };
        text += "\nRunning processes are not seen from here: what each has in its cache, and since when, says its own \
                 `Keyring::status`.";
        text
    }
}
