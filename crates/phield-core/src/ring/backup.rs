//! The backup of a manifest (I-9).

use crate::error::RingError;
use crate::manifest::Manifest;
use crate::record::KeyRecord;
use crate::ring::{Ring, VerifiedRing};
use crate::settings::RingSettings;
use crate::store::FileStore;

impl RingSettings {
    /// Verifies a manifest that is not in use: a backup, or one that is to be merged. It may be older than `min_epoch`,
    /// which holds for the ring itself and is not switched off by this.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn verify_archived(&self, stored: &[u8]) -> Result<VerifiedRing, RingError> {
        let mut settings = self.clone();
        settings.min_epoch = 0;
        settings.verify(stored).await
    }
}

impl Ring {
    /// Writes what was loaded to a backup file, durably. Rehearse its restore in a new process.
    ///
    /// A file that is there is only replaced by a newer state of the same ring: what does not verify, and what has a key or
    /// a step of its life that the new one does not have, stays.
    ///
    /// # Errors
    /// [`RingError::OldBackup`] for what does not verify; [`RingError::BackupAhead`]; see [`RingError`].
    pub async fn back_up(&self, ring: &VerifiedRing, file: &FileStore) -> Result<(), RingError> {
        let previous = file.read()?;
        match previous.as_deref() {
            Some(stored) if stored == ring.stored => return Ok(()),
            Some(stored) => {
                let archived = self.settings.verify_archived(stored).await;
                let archived = archived.map_err(|error| RingError::OldBackup(Box::new(error)))?;
                check_newer(&ring.manifest, &archived.manifest)?;
            }
            None => {}
        }
        file.replace(previous.as_deref(), &ring.stored)
    }

    /// I-9: the configured backup verifies under the pinned ring key and holds the record as it is, wraps and all. Its state
    /// may have been another.
    pub(super) async fn check_backed_up(&self, record: &KeyRecord) -> Result<(), RingError> {
        let Some(backup) = &self.backup else {
            return Ok(());
        };
        let missing = || RingError::NotInBackup(record.context.key_id);
        let stored = backup.read()?.ok_or_else(missing)?;
        let archived = self.settings.verify_archived(&stored).await?;
        let found = archived.manifest.record(record.context.key_id);
        let same = |found: &&KeyRecord| is_same_key(found, record) && found.wraps == record.wraps;
        found.filter(same).map(drop).ok_or_else(missing)
    }
}

/// One key, and not two by one id.
pub(super) fn is_same_key(a: &KeyRecord, b: &KeyRecord) -> bool {
    a.context == b.context && a.check_value == b.check_value
}

/// Every record of `old` is in `new`, in the same state or a later one.
fn check_newer(new: &Manifest, old: &Manifest) -> Result<(), RingError> {
    if old.epoch > new.epoch {
        return Err(RingError::BackupAhead(old.epoch, new.epoch));
    }
    for record in &old.records {
        let kept = new.record(record.context.key_id);
        let kept = kept.filter(|new| is_same_key(new, record) && new.state >= record.state);
        kept.ok_or(RingError::RecordChanged(record.context.key_id))?;
    }
    Ok(())
}
