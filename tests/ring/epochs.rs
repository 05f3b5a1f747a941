//! Old manifests put back, and what the epoch witness does about them.

use std::fs;

use phield_core::{FileStore, Manifest, Ring, RingError};
use phield_testkit::{TestRing, block_on};

use crate::{chain, class, make_symlink};

/// A harmless change.
/// A change that is allowed: the last second of sealing may be brought forward, each time by less than the last.
fn touch(sooner: u64) -> impl FnOnce(&mut Manifest) {
    move |manifest| manifest.records[0].not_after = 1_000_000 - sooner
}

fn stale(error: &RingError) -> (u64, u64) {
    match error {
        RingError::Stale { epoch, known } => (*epoch, *known),
        other => panic!("not stale: {other:?}"),
    }
}

#[test]
fn an_older_manifest_is_stale() {
    let ring = TestRing::new("clinic");
    let old = fs::read(ring.key_store()).unwrap();
    assert_eq!(
        block_on(ring.ring().update(touch(7))).unwrap().manifest().epoch,
        2
    );
    let new = fs::read(ring.key_store()).unwrap();
    fs::write(ring.key_store(), &old).unwrap();
    assert_eq!(
        stale(&block_on(ring.ring().load()).unwrap_err()),
        (1, 2),
        "the witness knows"
    );
    assert_eq!(
        stale(&block_on(ring.ring().update(touch(8))).unwrap_err()),
        (1, 2)
    );
    fs::write(ring.key_store(), &new).unwrap();
    block_on(ring.ring().load()).unwrap();
}

#[test]
fn below_min_epoch_is_stale_without_a_witness() {
    let ring = TestRing::new("clinic");
    let old = fs::read(ring.key_store()).unwrap();
    let mut settings = ring.ring().settings.clone();
    settings.min_epoch = 2;
    let ephemeral = Ring::new(settings, FileStore::new(ring.key_store()), None);
    assert_eq!(stale(&block_on(ephemeral.load()).unwrap_err()), (1, 2));
    block_on(ring.ring().update(touch(7))).unwrap();
    block_on(ephemeral.load()).unwrap();
    fs::write(ring.key_store(), old).unwrap();
    assert_eq!(stale(&block_on(ephemeral.load()).unwrap_err()), (1, 2));
}

#[test]
fn an_equal_epoch_with_another_mac_is_stale() {
    let ring = TestRing::new("clinic");
    let copy = ring.folder().join("copy.phield");
    fs::copy(ring.key_store(), &copy).unwrap();
    let other = Ring::new(ring.ring().settings.clone(), FileStore::new(&copy), None);
    block_on(ring.ring().update(touch(7))).unwrap();
    block_on(other.update(touch(8))).unwrap();
    let right = fs::read(ring.key_store()).unwrap();
    fs::copy(&copy, ring.key_store()).unwrap();
    assert_eq!(stale(&block_on(ring.ring().load()).unwrap_err()), (2, 2));
    fs::write(ring.key_store(), right).unwrap();
    block_on(ring.ring().load()).unwrap();
}

#[test]
fn a_witness_that_cannot_be_read_is_never_taken_as_absent() {
    let ring = TestRing::new("clinic");
    let right = fs::read_to_string(ring.witness()).unwrap();
    let line = right.trim_end();
    let upper = right.replace("clinic-test 1 ", "").to_uppercase();
    for (bad, expected) in [
        (String::new(), "Malformed"),
        ("\n".to_owned(), "Malformed"),
        (line.to_owned(), "Malformed"),
        (format!("{line} more\n"), "Malformed"),
        (format!("{right}{right}"), "Malformed"),
        (line[..line.len() - 1].to_owned() + "\n", "Malformed"),
        (format!("clinic-test 1 {upper}"), "Malformed"),
        (right.replace(" 1 ", " one "), "Malformed"),
        (right.replace(" 1 ", " -1 "), "Malformed"),
        (right.replace(" 1 ", " 18446744073709551616 "), "Malformed"),
        (right.replace("clinic-test", "clinic-prod"), "Authentication"),
        (right.replace(" 1 ", " 18446744073709551615 "), "Stale"),
    ] {
        fs::write(ring.witness(), &bad).unwrap();
        let error = block_on(ring.ring().load()).unwrap_err();
        assert_eq!(class(&error), expected, "{bad:?}");
        assert_eq!(
            fs::read_to_string(ring.witness()).unwrap(),
            bad,
            "the witness was changed"
        );
    }
    fs::write(ring.witness(), &right).unwrap();
    block_on(ring.ring().load()).unwrap();
    make_symlink(&ring.witness());
    let error = block_on(ring.ring().load()).unwrap_err();
    assert_eq!(class(&error), "File");
    assert!(
        chain(&error).ends_with("it is a symbolic link"),
        "{}",
        chain(&error)
    );
}

#[test]
fn the_witness_follows_and_a_missing_one_starts_anew() {
    let ring = TestRing::new("clinic");
    for epoch in 2..5 {
        block_on(ring.ring().update(touch(epoch))).unwrap();
        let witness = fs::read_to_string(ring.witness()).unwrap();
        assert!(witness.starts_with(&format!("clinic-test {epoch} ")), "{witness}");
    }
    fs::remove_file(ring.witness()).unwrap();
    block_on(ring.ring().load()).unwrap();
    assert!(ring.witness().exists());
}
