//! Local key files (format §8.4). Nothing here stretches a passphrase: that would be a second an input.

use super::input::Input;
use crate::cipher;
use crate::error::RingError;
use crate::key::FileKey;
use crate::local::{Layout, LocalKeyFile, LocalProvider, Passphrase, decode_keks};
use crate::lp;
use crate::schedule;
use crate::stretch::Stretching;

/// Stands for the stretched passphrase `M`.
const FILE_KEY: [u8; 32] = [0x4d; 32];

/// Any bytes as a key file, as the content of one, and files of any content.
pub fn local_key_file(data: &[u8]) {
    layout(data);
    content(data);
    opened(data);
    keys(&mut Input::new(data));
    // With two bytes in front that say which bit changes, and a content behind them.
    if let Some((flip, rest)) = data.split_first_chunk::<2>() {
        changed(rest, u16::from_be_bytes(*flip));
    }
}

/// Layout and bounds are checked before anything is stretched or allocated.
fn layout(file: &[u8]) {
    let (layout, stretching) = match Layout::checked(file) {
        Ok(checked) => checked,
        Err(refused) => {
            assert!(matches!(refused, RingError::Malformed(_) | RingError::Config(_)));
            assert_eq!(format_allows(file), None);
            // The parser as it is used. Were anything stretched here, the harness would come to a halt.
            let parsed = LocalKeyFile::parse(file, &Passphrase::new("passphrase".to_owned()));
            assert_eq!(parsed.err().map(|e| e.to_string()), Some(refused.to_string()));
            return;
        }
    };
    assert_eq!(format_allows(file), Some(stretching));
    // A file that was not made with this key is refused by its commitment.
    let opened = layout.open(&FileKey::new(&FILE_KEY));
    assert!(matches!(opened, Err(RingError::Authentication)));
}

/// The table and the bounds of §8.4, read off the bytes.
fn format_allows(file: &[u8]) -> Option<Stretching> {
    let number = |at: usize| u32::from_be_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
    let whole = file.len() >= 63 && u64::from(number(59)) == u64::try_from(file.len() - 63).unwrap();
    if !whole || &file[..5] != b"PHLK\x01" {
        return None;
    }
    let (m, t, p) = (number(6), number(10), file[14]);
    match file[5] {
        0x01 => {
            let bounds = (65_536..=4_194_304).contains(&m) && (1..=16).contains(&t) && (1..=16).contains(&p);
            bounds.then_some(Stretching::Argon2id {
                memory_kib: m,
                passes: t,
                lanes: p,
            })
        }
        0x02 => {
            let bounds = m == 0 && p == 0 && (600_000..=100_000_000).contains(&t);
            bounds.then_some(Stretching::Pbkdf2 { iterations: t })
        }
        _ => None,
    }
}

/// What decodes as keys is encoded again as the same bytes.
fn content(data: &[u8]) -> Option<LocalKeyFile> {
    let file = decode_keks(data)?;
    assert_eq!(file.encode_keks().0, data);
    assert_eq!(
        lp::decode_list(data).map(|list| list.len()),
        Some(file.keks().count())
    );
    let _ = LocalProvider::new(&file);
    Some(file)
}

/// Keys of any ids and states: accepted exactly when ids ascend and states are known.
fn keys(input: &mut Input<'_>) {
    let (mut id, mut good, mut entries) = (0_u32, true, Vec::new());
    for n in 0..input.below(6) {
        // Mostly small steps up; repeated and descending ids too.
        let next = match input.u8() {
            255 => input.u32(),
            step => id.wrapping_add(u32::from(step % 4)),
        };
        let state = input.u8() % 6;
        good &= state <= 4 && (n == 0 || next > id);
        id = next;
        entries.push(lp::encode(&[
            &id.to_be_bytes(),
            &input.array::<8>(),
            &[state],
            &[input.u8(); 32],
        ]));
    }
    let list = lp::encode(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let file = content(&list);
    assert_eq!(file.is_some(), good);
    assert!(file.is_none_or(|file| file.keks().count() == entries.len()));
}

/// A file of this content under a known key opens exactly when the content decodes, and under no other key.
fn opened(data: &[u8]) {
    let file = sealed(data);
    let (layout, _) = Layout::checked(&file).unwrap();
    match (layout.open(&FileKey::new(&FILE_KEY)), content(data)) {
        (Ok(opened), Some(keks)) => assert_eq!(opened.encode_keks().0, keks.encode_keks().0),
        (Err(RingError::Malformed(_)), None) => {}
        (result, keks) => panic!("{result:?} of {keks:?}"),
    }
    let other = layout.open(&FileKey::new(&[0x4e; 32]));
    assert!(matches!(other, Err(RingError::Authentication)));
}

/// A file with one bit changed does not open.
fn changed(data: &[u8], flip: u16) {
    let mut file = sealed(data);
    let bit = usize::from(flip) % (file.len() * 8);
    file[bit / 8] ^= 1 << (bit % 8);
    if let Ok((layout, _)) = Layout::checked(&file) {
        let opened = layout.open(&FileKey::new(&FILE_KEY));
        assert!(matches!(opened, Err(RingError::Authentication)));
    }
}

/// The table of §8.4, with the least parameters.
fn sealed(content: &[u8]) -> Vec<u8> {
    let (key, mut nonce) = (FileKey::new(&FILE_KEY), [0xb0; 12]);
    let mut file = b"PHLK\x01\x01\x00\x01\x00\x00\x00\x00\x00\x01\x01".to_vec();
    file.extend_from_slice(&[0x5a; 16]);
    let content_key = schedule::local_content_key(&key, &file);
    let commitment = schedule::local_commitment(&key, &file);
    file.extend_from_slice(&commitment);
    let mut content = content.to_vec();
    cipher::seal_vec(content_key.expose_bytes(), &mut nonce, &file, &mut content).unwrap();
    file.extend_from_slice(&nonce);
    file.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
    file.extend_from_slice(&content);
    file
}
