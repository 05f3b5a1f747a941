//! What a service awaits it may await in a task, which any thread takes over: that compiles, or it does not.
#![allow(dead_code, reason = "compiled, never called")]

use phield::sqlx::migrate::{Acknowledgement, Migration};
use phield::sqlx::rotate::{Mode, Rotation};
use phield::{
    AcceptedLosses, Destruction, KekReference, KeyId, KeySelection, KeyState, KeyUse, Keyring, ProviderName,
    Rekek, Restored, Retirement, Ring, RingSettings, Rollout, SignedCoverage, VerifiedRing,
};
use sqlx::Postgres;

fn is_send(_: impl Send) {}

fn of_a_ring(ring: &Ring, verified: &VerifiedRing, settings: &RingSettings, id: KeyId) {
    is_send(ring.load());
    is_send(ring.keyring());
    is_send(ring.create_store());
    is_send(ring.publish(verified));
    is_send(ring.add_key(KeyUse::Index, None, None));
    is_send(ring.successor(KeyUse::Index, None, None));
    is_send(ring.activate(id, Rollout::AcknowledgedByEveryInstance));
    is_send(ring.retire(id, Retirement::Compromised, None));
    is_send(ring.retire_without_successor(id, KeyState::Compromised));
    is_send(ring.set_state(id, KeyState::Compromised));
    is_send(ring.update(|_| {}));
    is_send(verified.keyring(settings));
    is_send(verified.check(settings));
    is_send(verified.check_every_wrap(settings));
}

fn of_wraps(
    ring: &Ring,
    rekek: &Rekek,
    (provider, kek): (&ProviderName, &KekReference),
    keys: &KeySelection,
) {
    is_send(ring.plan_rekek(rekek));
    is_send(ring.rekek(rekek, &mut |_| {}));
    is_send(ring.add_wrap(provider, kek, keys));
    is_send(ring.remove_wrap(provider, kek));
}

fn of_an_end(
    ring: &Ring,
    id: KeyId,
    destruction: &Destruction<'_>,
    restored: &Restored,
    signed: &SignedCoverage,
) {
    is_send(ring.destroy(id, destruction));
    is_send(ring.verify_coverage(signed));
    is_send(ring.prepare_restore(&[], &[], "", AcceptedLosses::default()));
    is_send(ring.publish_restored(restored));
}

fn of_a_rotation(rotation: &Rotation<Postgres>, id: KeyId) {
    is_send(rotation.run(Mode::Data, |_| {}));
    is_send(rotation.status());
    is_send(rotation.pause());
    is_send(rotation.cancel());
    is_send(rotation.end_pause());
    is_send(rotation.plan(Mode::Data));
    is_send(rotation.quarantine(1));
    is_send(rotation.unregistered());
    is_send(rotation.has_seen(id));
    is_send(rotation.keep_report("", ""));
}

fn of_a_migration(migration: &Migration<Postgres>, acknowledged: &Acknowledgement) {
    is_send(migration.plan("", "", ""));
    is_send(migration.status());
    is_send(migration.add("", "", ""));
    is_send(migration.backfill("", "", None, |_| {}));
    is_send(migration.check("", ""));
    is_send(migration.cutover("", "", true));
    is_send(migration.drop_plaintext("", "", acknowledged));
    is_send(migration.revert("", ""));
    is_send(migration.unseal("", "", "", acknowledged, |_| {}));
}

fn of_a_keyring(keyring: Keyring) {
    is_send(async move {
        let keyring = keyring;
        tokio::task::yield_now().await;
        drop(keyring);
    });
}
