//! Key files that are not what they should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use phield_core::{Backends, LocalKeyFile, Passphrase, RingError, Stretching};
use phield_testkit::{TestRing, block_on};

use crate::{chain, chmod, class, make_symlink};

/// Positions of the parts of a key file (format §8.4).
const KDF: usize = 5;
const MEMORY: usize = 6;
const PASSES: usize = 10;
const LANES: usize = 14;
const SALT: usize = 15;
const LENGTH: usize = 59;
const CONTENT: usize = 63;

fn open(ring: &TestRing) -> Result<LocalKeyFile, RingError> {
    LocalKeyFile::open(&ring.key_file(), &Passphrase::from_file(&ring.passphrase_file())?)
}

/// Why a key file with this content does not open.
fn open_bytes(ring: &TestRing, content: &[u8]) -> RingError {
    let path = ring.folder().join("changed.phield");
    fs::write(&path, content).unwrap();
    chmod(&path, 0o600);
    let passphrase = Passphrase::from_file(&ring.passphrase_file()).unwrap();
    LocalKeyFile::open(&path, &passphrase).expect_err("a changed key file was accepted")
}

#[test]
fn wrong_passphrase() {
    let ring = TestRing::new("clinic");
    for wrong in ["wrong", " ", "\u{0}"] {
        let error = LocalKeyFile::open(&ring.key_file(), &Passphrase::new(wrong.to_owned())).unwrap_err();
        assert_eq!(class(&error), "Authentication");
    }
    let other = Passphrase::generate().unwrap();
    let path = ring.folder().join("other");
    other.write_new(&path).unwrap();
    fs::rename(path, ring.passphrase_file()).unwrap();
    let error = block_on(ring.config().ring(&Backends::local())).unwrap_err();
    assert_eq!(class(&error), "Authentication");
    assert!(error.to_string().contains("passphrase"), "{error}");
}

#[test]
fn one_line_feed_is_not_part_of_the_passphrase() {
    let ring = TestRing::new("clinic");
    let text = fs::read_to_string(ring.passphrase_file()).unwrap();
    let without = text.strip_suffix('\n').unwrap();
    for (content, opens) in [
        (without.to_owned(), true),
        (format!("{without}\n\n"), false),
        (format!("{without} "), false),
    ] {
        fs::write(ring.passphrase_file(), content).unwrap();
        assert_eq!(open(&ring).is_ok(), opens);
    }
}

#[test]
fn files_that_others_can_reach() {
    let ring = TestRing::new("clinic");
    for path in [ring.key_file(), ring.passphrase_file()] {
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666] {
            chmod(&path, mode);
            let error = open(&ring).unwrap_err();
            assert_eq!(class(&error), "File");
            assert!(
                chain(&error).ends_with("its group or others have access: chmod 600"),
                "{}",
                chain(&error)
            );
        }
        chmod(&path, 0o600);
    }
    open(&ring).unwrap();
}

#[test]
fn files_of_somebody_else() {
    let ring = TestRing::new("clinic");
    for path in [ring.key_file(), ring.passphrase_file()] {
        if chown(&path, Some(65_534), None).is_err() {
            println!("skipped: only root can give files away");
            return;
        }
        let error = open(&ring).unwrap_err();
        assert_eq!(class(&error), "File");
        assert!(
            chain(&error).ends_with("it belongs to another user"),
            "{}",
            chain(&error)
        );
        chown(&path, Some(0), None).unwrap();
    }
    open(&ring).unwrap();
}

#[test]
fn symlinks_and_folders() {
    for path in [TestRing::key_file, TestRing::passphrase_file] {
        let ring = TestRing::new("clinic");
        make_symlink(&path(&ring));
        let error = open(&ring).unwrap_err();
        assert_eq!(class(&error), "File");
        assert!(
            chain(&error).ends_with("it is a symbolic link"),
            "{}",
            chain(&error)
        );
        fs::remove_file(path(&ring)).unwrap();
        fs::create_dir(path(&ring)).unwrap();
        let error = open(&ring).unwrap_err();
        assert!(
            chain(&error).ends_with("it is not a regular file"),
            "{}",
            chain(&error)
        );
    }
}

#[test]
fn truncated_at_every_length_and_extended() {
    let ring = TestRing::new("clinic");
    let file = fs::read(ring.key_file()).unwrap();
    for len in 0..file.len() {
        let error = open_bytes(&ring, &file[..len]);
        assert_eq!(class(&error), "Malformed", "at {len}: {error:?}");
    }
    assert_eq!(
        class(&open_bytes(&ring, &[file.as_slice(), &[0]].concat())),
        "Malformed"
    );
}

/// Every bit whose flip is found before the passphrase is stretched; the other bits of the header, where the stretched
/// memory stays small; and every seventh bit of the rest.
#[test]
fn flipped_bits() {
    let ring = TestRing::new("clinic");
    let file = fs::read(ring.key_file()).unwrap();
    let flip = |byte: usize, bit: usize| {
        let mut changed = file.clone();
        changed[byte] ^= 1 << bit;
        changed
    };
    let number = |file: &[u8], at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    let (mut early, mut late) = (0, 0);
    for byte in 0..file.len() {
        for bit in 0..8 {
            let changed = flip(byte, bit);
            let (m, t, p) = (number(&changed, MEMORY), number(&changed, PASSES), changed[LANES]);
            let in_bounds =
                (65_536..=4_194_304).contains(&m) && (1..=16).contains(&t) && (1..=16).contains(&p);
            let expected = match byte {
                0..=KDF => "Malformed",
                MEMORY..SALT if !in_bounds => "Config",
                LENGTH..CONTENT => "Malformed",
                _ => "Authentication",
            };
            // About a tenth of a second each: the cheap ones all, a sample of the others.
            let cheap = expected != "Authentication";
            let header_sample = (MEMORY..SALT).contains(&byte) && m <= 98_304 && bit % 3 == 0;
            let sample = byte >= SALT && (byte * 8 + bit) % 37 == 0;
            if cheap || header_sample || sample {
                let error = open_bytes(&ring, &changed);
                assert_eq!(class(&error), expected, "byte {byte} bit {bit}: {error:?}");
                *if cheap { &mut early } else { &mut late } += 1;
            }
        }
    }
    println!("{early} bits refused before stretching, {late} after it");
    assert!(early > 100 && late >= 24, "{early} {late}");
}

#[test]
fn parameters_out_of_bounds_are_refused_before_anything_is_allocated() {
    let ring = TestRing::new("clinic");
    let file = fs::read(ring.key_file()).unwrap();
    let with = |kdf: u8, m: u32, t: u32, p: u8| {
        let mut changed = file.clone();
        changed[KDF] = kdf;
        changed[MEMORY..PASSES].copy_from_slice(&m.to_be_bytes());
        changed[PASSES..LANES].copy_from_slice(&t.to_be_bytes());
        changed[LANES] = p;
        changed
    };
    let start = Instant::now();
    for (kdf, m, t, p) in [
        (1, u32::MAX, 1, 1),
        (1, 4_194_305, 1, 1),
        (1, 65_535, 1, 1),
        (1, 0, 1, 1),
        (1, 65_536, 0, 1),
        (1, 65_536, 17, 1),
        (1, 65_536, u32::MAX, 1),
        (1, 65_536, 1, 0),
        (1, 65_536, 1, 17),
        (1, 65_536, 1, 255),
        (2, 0, 599_999, 0),
        (2, 0, 100_000_001, 0),
        (2, 0, u32::MAX, 0),
        (2, 1, 600_000, 0),
        (2, 0, 600_000, 1),
    ] {
        let error = open_bytes(&ring, &with(kdf, m, t, p));
        assert_eq!(class(&error), "Config", "{kdf} {m} {t} {p}");
        assert_eq!(
            error.to_string(),
            "the parameters of the key file are out of bounds"
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "something was stretched: {:?}",
        start.elapsed()
    );
}

#[test]
fn weak_stretching_is_not_written() {
    let ring = TestRing::new("clinic");
    let path = ring.folder().join("weak.phield");
    let weak = Stretching::Argon2id {
        memory_kib: 1024,
        passes: 1,
        lanes: 1,
    };
    let error = LocalKeyFile::create(&path, &Passphrase::new("p".to_owned()), weak, 0).unwrap_err();
    assert_eq!((class(&error), path.exists()), ("Config", false));
}

#[test]
fn an_existing_key_file_is_never_replaced() {
    let ring = TestRing::new("clinic");
    let before = fs::read(ring.key_file()).unwrap();
    let passphrase = Passphrase::new("another".to_owned());
    let error = LocalKeyFile::create(&ring.key_file(), &passphrase, Stretching::minimal(), 0).unwrap_err();
    assert_eq!(class(&error), "Exists");
    let error = passphrase.write_new(&ring.passphrase_file()).unwrap_err();
    assert_eq!(class(&error), "Exists");
    assert_eq!(fs::read(ring.key_file()).unwrap(), before);
    open(&ring).unwrap();
}

#[test]
fn what_is_written_is_for_the_owner_alone() {
    let ring = TestRing::new("clinic");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in [
        ring.key_file(),
        ring.passphrase_file(),
        ring.key_store(),
        ring.witness(),
    ] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
