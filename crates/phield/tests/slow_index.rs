//! Models with slow and device indexes: both forms of every method.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]
// Release builds have no cheap slow indexes.
#![cfg(all(feature = "derive", debug_assertions))]

use phield::{
    AppName, BlindIndex, EncryptedPhi, IndexAlgorithm, IndexError, Keyring, Phi, SealError, Sealed,
    SubjectKeyMap, UnderSubjectKey,
};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "people",
    index(
        name = "name_zip",
        on(name = "name", zip = "digits"),
        algorithm = "argon2id-m65536-t3-p1",
        bits = 64
    )
)]
struct Person {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn", algorithm = "pbkdf2-sha256-i600000"))]
    ssn: Option<Phi<String>>,
    #[phi(index(normalize = "name", bits = 12))]
    name: Phi<String>,
    zip: Option<Phi<String>>,
    note: Phi<String>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
struct InDevice {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "device-hmac-sha256"))]
    ssn: Phi<String>,
    #[phi(index)]
    mrn: Phi<String>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits", subject_keys)]
struct Visit {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    person: String,
    #[phi(index(algorithm = "argon2id-m65536-t3-p1"))]
    diagnosis: Phi<String>,
}

fn cheap() -> Keyring {
    Keyring::ephemeral_with_cheap_slow_indexes(AppName::from_static("emr")).unwrap()
}

fn person(id: i64) -> Person {
    Person {
        id,
        ssn: (id % 3 != 0).then(|| Phi::new(format!("{id:09}"))),
        name: Phi::from("O’Neill"),
        zip: (id % 5 != 0).then(|| Phi::from("12345-678")),
        note: Phi::from("n"),
    }
}

fn indexes(sealed: &SealedPerson) -> (Option<BlindIndex>, BlindIndex, Option<BlindIndex>) {
    (sealed.ssn_index, sealed.name_index, sealed.name_zip_index)
}

/// A future that a spawned task may hold.
fn sent<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

#[test]
fn definitions_are_as_written() {
    let algorithms: Vec<_> = Person::SCHEMA
        .indexes
        .iter()
        .map(|index| (index.name, index.algorithm.to_string(), index.bits))
        .collect();
    let expected = [
        ("ssn_index", "pbkdf2-sha256-i600000", 256),
        ("name_index", "hmac-sha256", 12),
        ("name_zip", "argon2id-m65536-t3-p1", 64),
    ];
    assert_eq!(
        algorithms,
        expected.map(|(name, id, bits)| (name, id.to_owned(), bits))
    );
    assert_eq!(
        Person::NAME_ZIP_INDEX.algorithm(),
        IndexAlgorithm::argon2id(65_536, 3, 1)
    );
    assert_eq!(Person::NAME_ZIP_INDEX.bits(), 64);
    assert_eq!(InDevice::SSN_INDEX.algorithm(), IndexAlgorithm::DeviceHmacSha256);
}

#[tokio::test]
async fn both_forms_give_the_same() {
    let keyring = cheap();
    for id in [1, 3, 5] {
        let model = person(id);
        let sealed = sent(model.seal_async(&keyring)).await.unwrap();
        assert_eq!(indexes(&sealed), indexes(&model.seal(&keyring).unwrap()));
        assert_eq!(sealed.ssn_index.is_none(), id == 3);
        assert_eq!(sealed.name_zip_index.is_none(), id == 5);
        assert_eq!(sealed.open(&keyring).unwrap(), model);
    }
    let slots = sent(Person::ssn_index_async(&keyring, "000 00 0001"))
        .await
        .unwrap();
    assert_eq!(slots, Person::ssn_index(&keyring, "000000001").unwrap());
    assert_eq!(Some(slots[0]), person(1).seal(&keyring).unwrap().ssn_index);
    let slots = sent(Person::name_zip_index_async(&keyring, "ONEILL", "12345678"))
        .await
        .unwrap();
    assert_eq!(
        slots,
        Person::name_zip_index(&keyring, "ONEILL", "12345678").unwrap()
    );
    assert_eq!(slots[0].as_bytes().len(), 4 + 8);
    assert_eq!(
        Person::name_index(&keyring, "x").unwrap()[0].as_bytes().len(),
        4 + 2
    );
}

#[tokio::test]
async fn one_field_is_sealed_in_both_forms() {
    let keyring = cheap();
    let (ssn, ssn_index): (Option<Sealed<String>>, Option<BlindIndex>) =
        sent(Person::seal_ssn_async(&keyring, &1, &person(1).ssn))
            .await
            .unwrap();
    assert_eq!(
        ssn_index,
        Person::seal_ssn(&keyring, &1, &person(1).ssn).unwrap().1
    );
    assert_eq!(
        Person::SSN.open(&keyring, &1, &ssn.unwrap()).unwrap().expose(),
        "000000001"
    );
    let sealed = sent(Person::seal_name_zip_async(
        &keyring,
        &1,
        &person(1).name,
        &person(1).zip,
    ))
    .await
    .unwrap();
    let whole = person(1).seal(&keyring).unwrap();
    assert_eq!(
        (sealed.name_index, sealed.name_zip_index),
        (whole.name_index, whole.name_zip_index)
    );
    // Nothing to wait for: one form.
    let _: Sealed<String> = Person::seal_note(&keyring, &1, &person(1).note).unwrap();
}

#[tokio::test]
async fn batches_are_the_rows_in_order() {
    let keyring = cheap();
    for len in [0, 1, 64, 65, 150] {
        let rows: Vec<_> = (0..len).map(person).collect();
        let sealed = sent(Person::seal_batch_async(&rows, &keyring)).await.unwrap();
        let blocking = Person::seal_batch(&rows, &keyring).unwrap();
        assert!(sealed.iter().map(indexes).eq(blocking.iter().map(indexes)));
        assert_eq!(SealedPerson::open_batch(sealed, &keyring).unwrap(), rows);
    }
    let mut rows: Vec<_> = (0..100).map(person).collect();
    rows[80].note = Phi::new("x".repeat((1 << 20) + 1));
    assert!(Person::seal_batch_async(&rows, &keyring).await.is_err());
}

/// The workers of a real keyring, with their memory and threads.
#[tokio::test]
async fn a_batch_is_computed_by_the_workers() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let subjects = SubjectKeyMap::new();
    let keys = keyring.with_subjects(&subjects);
    let visit = |id| Visit {
        id,
        person: "p".to_owned(),
        diagnosis: Phi::from("J45.909"),
    };
    let rows: Vec<_> = (0..6).map(visit).collect();
    // Indexes do not need the keys of subjects, tokens do.
    let refused = sent(Visit::seal_batch_async(&rows, &keys)).await.err();
    assert!(matches!(refused, Some(SealError::Subject(_))));
    let workers = keyring.index_workers();
    assert!((65_536..=262_144).contains(&workers.peak_memory_kib()));
    assert_eq!(workers.queued(), 0);
}

#[tokio::test]
async fn slow_indexes_and_subject_keys_go_together() {
    let keyring = cheap();
    let mut subjects = SubjectKeyMap::new();
    let stored = keyring.new_subject_secret(None, "p").unwrap();
    subjects.insert(&keyring, None, "p", Some(&stored)).unwrap();
    let keys = keyring.with_subjects(&subjects);
    let visit = Visit {
        id: 1,
        person: "p".to_owned(),
        diagnosis: Phi::from("J45.909"),
    };
    let sealed = sent(visit.seal_async(&keys)).await.unwrap();
    let row = UnderSubjectKey {
        row: 1,
        subject: "p".to_owned(),
    };
    let (diagnosis, index) = sent(Visit::seal_diagnosis_async(&keys, &row, &visit.diagnosis))
        .await
        .unwrap();
    assert_eq!(index, sealed.diagnosis_index);
    assert_eq!(
        Visit::DIAGNOSIS.open(&keys, &row, &diagnosis).unwrap(),
        visit.diagnosis
    );
    let slots = sent(Visit::diagnosis_index_async(&keyring, "J45.909"))
        .await
        .unwrap();
    assert_eq!(slots[0], index);
    assert_eq!(sealed.open(&keys).unwrap(), visit);
}

/// A keyring without a pepper in a device says so; what does not need it works.
#[tokio::test]
async fn a_device_index_takes_a_pepper_in_a_device() {
    let keyring = cheap();
    let model = InDevice {
        id: 1,
        ssn: Phi::from("999-12-3456"),
        mrn: Phi::from("1"),
    };
    assert!(matches!(
        sent(model.seal_async(&keyring)).await,
        Err(SealError::Index(IndexError::WrongPepper(_)))
    ));
    assert!(
        sent(InDevice::seal_batch_async(std::slice::from_ref(&model), &keyring))
            .await
            .is_err()
    );
    assert!(
        sent(InDevice::seal_ssn_async(&keyring, &1, &model.ssn))
            .await
            .is_err()
    );
    assert!(
        sent(InDevice::ssn_index_async(&keyring, "999-12-3456"))
            .await
            .is_err()
    );
    let (_, index) = InDevice::seal_mrn(&keyring, &1, &model.mrn).unwrap();
    assert_eq!(InDevice::mrn_index(&keyring, "1").unwrap()[0], index);
}
