//! Keys of a keyring, and what they seal and open with.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{OpenError, SealError};
use crate::key::{DataKey, KeyId};
use crate::key_slot::{KeySlot, Missing, Role};
use crate::name::ScopeName;
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::row::SealingKey;
use crate::token::Suite;

/// A sealer refuses from `not after` plus this many seconds: clocks of one fleet differ.
const NOT_AFTER_GRACE: u64 = 300;

/// A record as the manifest in force has it, and the place of its key.
pub(crate) struct LoadedKey {
    pub(crate) key_use: KeyUse,
    pub(super) suite: Option<Suite>,
    pub(crate) scope: Option<ScopeName>,
    pub(crate) state: KeyState,
    pub(super) not_after: u64,
    /// A pepper that never leaves its device.
    pub(crate) is_device: bool,
    pub(super) slot: Arc<KeySlot>,
}

impl LoadedKey {
    pub(super) fn new(record: &KeyRecord, slot: Arc<KeySlot>) -> Self {
        Self {
            key_use: record.context.key_use,
            suite: record.context.suite,
            scope: record.context.scope.clone(),
            state: record.state,
            not_after: record.not_after,
            is_device: record.device_wrap().is_some(),
            slot,
        }
    }

    /// The key, if it is there.
    pub(crate) fn role(&self) -> Result<Arc<Role>, Missing> {
        self.slot.get()
    }

    pub(crate) fn slot(&self) -> &Arc<KeySlot> {
        &self.slot
    }

    /// Whether the last moment in which it may seal, write or wrap has passed, by this machine's clock. A clock that
    /// stands before 1970 is no reason: what seals fails by itself then.
    pub(crate) fn is_expired(&self) -> bool {
        self.not_after != 0
            && SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .is_ok_and(|now| self.is_expired_at(now.as_secs()))
    }

    pub(super) fn is_expired_at(&self, now: u64) -> bool {
        self.not_after != 0 && now >= self.not_after.saturating_add(NOT_AFTER_GRACE)
    }
}

/// The active data key of a table and tenant.
pub(crate) struct ActiveDataKey {
    pub(super) id: KeyId,
    pub(super) suite: Suite,
    pub(super) role: Arc<Role>,
}

impl ActiveDataKey {
    pub(crate) fn sealing_key(&self) -> Result<SealingKey<'_>, SealError> {
        match &*self.role {
            Role::Data(key) => Ok(SealingKey {
                id: self.id,
                suite: self.suite,
                key,
            }),
            _ => Err(SealError::KeyUnavailable(self.id)),
        }
    }
}

/// What a token is opened with.
pub(crate) struct OpeningRecord {
    pub(super) id: KeyId,
    pub(super) loaded: Arc<LoadedKey>,
}

impl OpeningRecord {
    /// The data key, in its role.
    pub(crate) fn unlock(&self) -> Result<OpeningKey, OpenError> {
        let role = self.loaded.role().map_err(|missing| match missing {
            Missing::Unavailable => OpenError::KeyUnavailable(self.id),
            Missing::Refused => OpenError::KeyRefused(self.id),
        })?;
        Ok(OpeningKey { id: self.id, role })
    }

    pub(crate) fn is_compromised(&self) -> bool {
        self.loaded.state == KeyState::Compromised
    }
}

/// The data key of a token.
pub(crate) struct OpeningKey {
    id: KeyId,
    role: Arc<Role>,
}

impl OpeningKey {
    pub(crate) fn key(&self) -> Result<&DataKey, OpenError> {
        match &*self.role {
            Role::Data(key) => Ok(key),
            _ => Err(OpenError::KeyUnavailable(self.id)),
        }
    }
}
