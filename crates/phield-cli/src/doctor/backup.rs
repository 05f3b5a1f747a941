//! The backup of the manifest (I-9).

use phield_core::config::Config;
use phield_core::{FileStore, KeyRecord, KeyState, Manifest, RingError, RingSettings, VerifiedRing};

use super::finding::{Area, Findings};
use crate::text::{count, ids};

pub(super) async fn check(
    config: &Config,
    settings: &RingSettings,
    verified: &VerifiedRing,
    findings: &mut Findings,
) {
    let Some(path) = config.backup_path() else { return };
    let stored = match FileStore::new(&path).read() {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            findings.error(
                Area::Backup,
                format!("there is no backup at {}", path.display()),
                "If the ring is lost, so is everything that was sealed; and no key can be activated.",
                "phield keys backup (is the disk of the backup mounted?)",
            );
            return;
        }
        Err(error) => {
            unusable(&error, findings);
            return;
        }
    };
    match settings.verify_archived(&stored).await {
        Ok(archived) => compare(&archived, verified.manifest(), findings),
        Err(error) => unusable(&error, findings),
    }
}

fn unusable(error: &RingError, findings: &mut Findings) {
    findings.failed(
        Area::Backup,
        error,
        "The backup is not one of this ring, or it was damaged: nothing could be restored from it.",
        "Move it away, and keep it until you know what it is; then phield keys backup.",
    );
}

fn compare(archived: &VerifiedRing, manifest: &Manifest, findings: &mut Findings) {
    let backup = archived.manifest();
    if backup.epoch > manifest.epoch {
        findings.error(
            Area::Backup,
            format!(
                "the backup has epoch {}, and the ring only {}",
                backup.epoch, manifest.epoch
            ),
            "An old ring was put back, or a restore did not end.",
            "Run phield keys restore with that backup (again).",
        );
        return;
    }
    let lacking = |record: &&KeyRecord| {
        let kept = backup.record(record.context.key_id);
        record.state.opens() && kept.is_none_or(|kept| kept.check_value != record.check_value)
    };
    let lacking: Vec<_> = manifest.records.iter().filter(lacking).collect();
    let active: Vec<_> = lacking
        .iter()
        .filter(|record| record.state != KeyState::PreActive)
        .map(|record| record.context.key_id)
        .collect();
    if !active.is_empty() {
        findings.error(
            Area::Backup,
            format!("keys that are in use are not in the backup: {}", ids(&active)),
            "If the ring is lost, what they seal is lost for ever.",
            "phield keys backup, now",
        );
    } else if backup.epoch < manifest.epoch {
        findings.warning(
            Area::Backup,
            format!(
                "the backup has epoch {}, the ring {}; it lacks {}",
                backup.epoch,
                manifest.epoch,
                count(lacking.len(), "new key")
            ),
            "A restore would go back to it: new keys are lost, and states are as they were.",
            "phield keys backup",
        );
    }
}
