//! `--replace-key`: the active key gets a successor before its rows are sealed again.

use phield_core::{KeyId, KeyRecord, KeyState, KeyUse, Manifest, RingError, Rollout};
use phield_sqlx::rotate::RotationStatus;

use super::database::Job;
use super::rows::{Context, RunArguments};
use crate::text::{now, utc};
use crate::{Error, Host, backup, life};

/// The clocks of the database and of this machine may be so many seconds apart, as those of a count may.
const CLOCKS_APART: u64 = 300;

/// A rotation notes the keys that it sees, and then that it has started, within so many seconds.
const SEEN_FIRST: i64 = 60;

/// For so many seconds after a key was replaced, the same command is taken for one that was repeated.
const LATELY: u64 = 60 * 60;

/// Publishes a successor, or activates the one that has waited.
///
/// Does nothing while the rotation is under way, and after an activation that no rotation has followed yet: so a run that was killed
/// is repeated as it is. One that is repeated after its end is refused for an hour.
pub(crate) async fn key(
    context: &Context,
    job: &Job,
    arguments: &RunArguments,
    host: &mut Host<'_>,
) -> Result<(), Error> {
    // Since when a key seals no more is noted by the clock of this machine.
    let apart = job.clocks_apart().await?;
    if apart > CLOCKS_APART {
        return Err(Error::ClocksApart(apart));
    }
    let verified = context.ring.load().await?;
    if let Some(status) = job.status().await?
        && !matches!(status.state, "done" | "cancelled")
    {
        return check_is_for_new_key(&status, job, verified.manifest(), arguments.mode.key_use()).await;
    }
    let (key_use, manifest) = (arguments.mode.key_use(), verified.manifest());
    let of_use = |state: KeyState| {
        let records = manifest.records.iter();
        records.filter(move |record| record.context.key_use == key_use && record.state == state)
    };
    let mut waited_for = None;
    for active in of_use(KeyState::Active) {
        let (id, scope, suite) = (
            active.context.key_id,
            active.context.scope.clone(),
            active.context.suite,
        );
        let of_scope = |state| of_use(state).filter(|old| old.context.scope == scope);
        let was_replaced = of_scope(KeyState::DecryptOnly)
            .chain(of_scope(KeyState::Compromised))
            .next()
            .is_some();
        if was_replaced && !job.has_seen(id).await? {
            continue;
        }
        if let Some(replaced) = lately(of_scope(KeyState::DecryptOnly), now()) {
            return Err(Error::ReplacedLately {
                key_id: id,
                at: utc(replaced),
                until: utc(replaced.saturating_add(LATELY)),
                mode: arguments.mode.mode().as_str(),
            });
        }
        let successor = context.ring.successor(key_use, suite, scope).await?;
        // A key that was made just now nobody can have seen in any instance.
        let rollout = match arguments.acknowledged_by_every_instance && !successor.is_new {
            true => Rollout::AcknowledgedByEveryInstance,
            false => Rollout::Waited,
        };
        backup_of(context, arguments, host).await?;
        match context.ring.activate(successor.key_id, rollout).await {
            Ok(verified) => drop(life::next_successor(&context.ring, verified, successor.key_id).await?),
            Err(RingError::TooSoon { key_id, seconds }) => {
                waited_for = waited_for.max(Some((seconds, key_id)));
            }
            Err(other) => return Err(other.into()),
        }
    }
    if let Some((seconds, key_id)) = waited_for {
        return Err(Error::Published {
            key_id,
            at: utc(now().saturating_add(seconds)),
        });
    }
    backup_of(context, arguments, host).await
}

/// That the rotation under way is the one of a key that took the place of another: it has seen that key first.
async fn check_is_for_new_key(
    status: &RotationStatus,
    job: &Job,
    manifest: &Manifest,
    key_use: KeyUse,
) -> Result<(), Error> {
    let of_use = |is_it: fn(KeyState) -> bool| {
        let records = manifest.records.iter();
        records.filter(move |record| record.context.key_use == key_use && is_it(record.state))
    };
    let is_old = |state| matches!(state, KeyState::DecryptOnly | KeyState::Compromised);
    if of_use(is_old).next().is_some() {
        for active in of_use(|state| state == KeyState::Active) {
            let seen = job.first_seen(active.context.key_id).await?;
            if seen.is_some_and(|seen| seen.saturating_add(SEEN_FIRST) >= status.started) {
                return Ok(());
            }
        }
    }
    Err(Error::WithoutNewKey {
        mode: status.mode.as_str(),
        started: utc(u64::try_from(status.started).unwrap_or(0)),
    })
}

/// When the last of these keys stopped sealing, if that was lately. Of a key that was retired by an earlier version nobody knows when.
fn lately<'r>(old: impl Iterator<Item = &'r KeyRecord>, now: u64) -> Option<u64> {
    let stopped = old.filter_map(|record| record.stopped_sealing(now)).max();
    stopped.filter(|at| now < at.saturating_add(LATELY))
}

async fn backup_of(context: &Context, arguments: &RunArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let verified = context.ring.load().await?;
    let config = &arguments.work.database.config;
    backup::refresh((config, &context.config), &context.ring, &verified, host)
        .await
        .map(drop)
}

/// The states of keys, by id.
pub(crate) fn state_of(manifest: &Manifest, id: KeyId) -> &'static str {
    manifest
        .record(id)
        .map_or("not in the ring", |record| record.state.as_str())
}

#[cfg(test)]
mod tests {
    use phield_testkit::TestRing;

    use super::*;

    #[tokio::test]
    async fn a_time_to_come_is_not_lately() {
        let ring = TestRing::new("clinic");
        let verified = ring.ring().load().await.unwrap();
        let mut old = verified.manifest().records.first().unwrap().clone();
        old.state = KeyState::DecryptOnly;
        let now = 100 * LATELY;
        let mut lately_at = |not_after| {
            old.not_after = not_after;
            lately(std::iter::once(&old), now)
        };
        for replaced in [now, now - 1, now - LATELY + 1] {
            assert_eq!(lately_at(replaced), Some(replaced));
        }
        // Keys that earlier versions retired keep the time until which they were to seal, or have none.
        for unknown in [0, now + 1, now + 24 * LATELY, now - LATELY] {
            assert_eq!(lately_at(unknown), None);
        }
    }
}
