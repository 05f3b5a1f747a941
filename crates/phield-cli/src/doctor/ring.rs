//! The manifest: whether it is there, verifies, and is the newest one.

use phield_core::config::Config;
use phield_core::{FileWitness, RingError, RingSettings, VerifiedRing};

use super::finding::{Area, Findings};
use crate::Host;

/// Reads and verifies what is stored, without the epoch witness.
pub(super) async fn read(
    config: &Config,
    settings: &RingSettings,
    host: &Host<'_>,
    findings: &mut Findings,
) -> Option<VerifiedRing> {
    let read = async {
        let store = config.key_store(host.backends(), &settings.ring).await?;
        let stored = store.read().await?;
        stored.ok_or_else(|| RingError::NoRing(store.place()))
    };
    let stored = match read.await {
        Ok(stored) => stored,
        Err(error) => {
            let action = match error {
                RingError::Config(_) => "Put right what the message says.",
                RingError::NoRing(_) => {
                    "If there was a ring, put it back: phield keys restore --backup FILE --reason TEXT. If there never was one: \
                     phield init."
                }
                _ => {
                    "See that the key store is reached, and that this user may read it. In a database: that the table is there."
                }
            };
            findings.failed(Area::Ring, &error, "The application does not start.", action);
            return None;
        }
    };
    match settings.verify(&stored).await {
        Ok(verified) => Some(verified),
        Err(error) => {
            let (means, action) = explain(&error);
            findings.failed(Area::Ring, &error, means, action);
            // An old ring is still looked at.
            settings.verify_archived(&stored).await.ok()
        }
    }
}

/// What it means that a manifest does not verify.
fn explain(error: &RingError) -> (&'static str, &'static str) {
    match error {
        RingError::Stale { .. } => (
            "Somebody put an old ring back, or min_epoch was raised before the ring was published.",
            "Find out how. The newest ring: its backup, or another instance's. phield keys restore never goes backwards.",
        ),
        RingError::Authentication => (
            "It was changed by somebody who does not have the ring key, or ring_key, app or ring in the configuration are those \
             of another ring, or the key file is.",
            "Compare the configuration with the one that worked. If that is right, restore the backup: phield keys restore.",
        ),
        RingError::Malformed(_) => (
            "It is cut off, or it is no ring.",
            "Restore the backup: phield keys restore --backup FILE --reason TEXT.",
        ),
        RingError::KeyUnavailable(..) => (
            "The provider of the ring key is out of reach: no process can start now.",
            "Bring the provider back, or configure another one that has a wrap of the ring key.",
        ),
        RingError::KeyRefused(..) => (
            "The provider refuses the ring key: access denied, key disabled or about to be deleted.",
            "Give access back, or cancel the deletion now.",
        ),
        RingError::KeyState(_) => (
            "The pinned ring key must not be used any more.",
            "Pin its successor in ring_key, as the last step of replacing the ring key.",
        ),
        _ => ("The ring is not used.", "Put right what the message says."),
    }
}

/// Witness, floor and pins.
pub(super) fn check(config: &Config, verified: &VerifiedRing, findings: &mut Findings) {
    if let Some(path) = config.epoch_witness_path() {
        match FileWitness::new(&path).peek(verified) {
            Ok(Some(_)) => {}
            Ok(None) => findings.warning(
                Area::Ring,
                format!("there is no epoch witness at {} yet", path.display()),
                "It starts anew when the ring is loaded next: an old ring that is put back before is not noticed.",
                "If there was one, find out where it went. Otherwise run `phield keys list` once.",
            ),
            Err(error @ RingError::Stale { .. }) => {
                let (means, action) = explain(&error);
                findings.failed(Area::Ring, &error, means, action);
            }
            Err(error) => findings.failed(
                Area::Ring,
                &error,
                "A witness that cannot be read is never taken as absent: the application does not start.",
                format!(
                    "If {} was damaged, and the epoch of the ring is the one that other instances have, delete it.",
                    path.display()
                ),
            ),
        }
    } else if config.min_epoch.unwrap_or(0) < verified.manifest().epoch {
        findings.warning(
            Area::Ring,
            format!(
                "min_epoch is {}, the ring has epoch {}, and there is no epoch witness",
                config.min_epoch.unwrap_or(0),
                verified.manifest().epoch
            ),
            "Every ring since that epoch can be put back unnoticed.",
            format!("min_epoch = {}", verified.manifest().epoch),
        );
    }
    let pins = match &config.ring_key {
        phield_core::config::OneOrMany::Many(pins) => pins.len(),
        _ => 1,
    };
    if pins > 1 {
        findings.note(
            Area::Ring,
            format!("{pins} ring keys are pinned: the ring key is being replaced"),
            "Every one of them can authenticate the ring until it is taken out of ring_key.",
            "When the new one is active and every process has it, pin it alone and raise min_epoch.",
        );
    }
}
