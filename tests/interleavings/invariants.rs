//! What holds after every step.

use std::collections::BTreeSet;

use phield::{BlindIndex, KeyId, KeyState, KeyUse, Manifest, TokenInfo};

use crate::steps::Step;
use crate::world::{Patient, SealedPatient, World};

/// How far a key is in its life.
fn age(state: KeyState) -> u8 {
    match state {
        KeyState::PreActive => 0,
        KeyState::Active => 1,
        KeyState::DecryptOnly => 2,
        KeyState::Compromised => 3,
        KeyState::Destroyed => 4,
        _ => panic!("a state that the tests do not know"),
    }
}

impl World {
    pub(crate) async fn holds(&mut self, step: &Step) {
        let manifest = self.manifest().await;
        self.ring_goes_on(&manifest);
        self.keys_in_use_are_there(&manifest).await;
        self.rows_open(step).await;
        self.seen = manifest;
    }

    /// I-1 to I-3, I-5: no key is lost or changed, states go forward, one key of a use is active, every change is an epoch.
    fn ring_goes_on(&self, manifest: &Manifest) {
        for before in &self.seen.records {
            let now = manifest
                .record(before.context.key_id)
                .expect("no record goes, ever");
            assert_eq!(
                (&now.context, &now.check_value, now.created),
                (&before.context, &before.check_value, before.created)
            );
            assert!(
                age(now.state) >= age(before.state),
                "{:?} became {:?}",
                before.state,
                now.state
            );
            assert_ne!(
                now.state,
                KeyState::Destroyed,
                "nothing was destroyed with evidence"
            );
        }
        for record in &manifest.records {
            if self.seen.record(record.context.key_id).is_none() {
                assert_eq!(record.state, KeyState::PreActive, "new keys are published first");
            }
        }
        for key_use in [KeyUse::Data, KeyUse::Index, KeyUse::Uid, KeyUse::Ring] {
            let active = manifest
                .records
                .iter()
                .filter(|record| record.context.key_use == key_use && record.state.seals());
            assert_eq!(active.count(), 1, "one {key_use} key is active");
        }
        if manifest.records == self.seen.records {
            assert_eq!(manifest.epoch, self.seen.epoch);
        } else {
            assert!(manifest.epoch > self.seen.epoch, "a change without an epoch");
        }
    }

    /// I-5: what anything is under is there, opens, and was active.
    async fn keys_in_use_are_there(&self, manifest: &Manifest) {
        let used: BTreeSet<KeyId> = self.tokens().await;
        for key in used {
            let record = manifest
                .record(key)
                .expect("a token is under a key that the ring does not have");
            assert!(
                record.state.opens() && record.state != KeyState::PreActive,
                "{key} is {:?}",
                record.state
            );
        }
    }

    async fn tokens(&self) -> BTreeSet<KeyId> {
        type Row = (Vec<u8>, Vec<u8>, Option<String>);
        let rows = sqlx::query_as("SELECT name, name_index, note FROM patients")
            .fetch_all(&self.pool)
            .await;
        let rows: Vec<Row> = rows.unwrap();
        let keys = rows.iter().flat_map(|(name, index, note)| {
            let token = |token: &[u8]| TokenInfo::parse(token).unwrap().key_id;
            let index = BlindIndex::from_bytes(index)
                .and_then(|index| index.key_id())
                .unwrap();
            [
                Some(token(name)),
                Some(index),
                note.as_ref().map(|note| token(note.as_bytes())),
            ]
        });
        keys.flatten().collect()
    }

    /// I-3, I-4, I-8: every row opens and is found, by the ring as it is and by what every instance knows of it.
    async fn rows_open(&self, step: &Step) {
        let fresh = self.ring.ring().keyring().await.unwrap();
        let fresh = std::sync::Arc::new(fresh);
        for keyring in std::iter::once(&fresh).chain(&self.instances) {
            let rows: Vec<SealedPatient> = sqlx::query_as("SELECT * FROM patients ORDER BY id")
                .fetch_all(&self.pool)
                .await
                .unwrap();
            let opened = SealedPatient::open_batch(rows, keyring);
            assert_eq!(
                opened.unwrap_or_else(|error| panic!("after {step:?}: {error:?}")),
                self.rows
            );
            for row in &self.rows {
                let found = Patient::find_by_name(&self.pool, keyring, row.name.expose().as_str())
                    .await
                    .unwrap();
                assert_eq!(found, std::slice::from_ref(row), "after {step:?}");
            }
        }
    }
}
