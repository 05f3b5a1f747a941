//! The lower bound: the format's work for one row, written directly on aws-lc-rs and hmac.
//!
//! It seals, opens and indexes the same bytes as phield does, without its types, checks, scopes and errors. Key
//! schedules of long-lived keys are kept; opened values are erased after use, as phield erases them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::models::{APP, COLUMNS, TABLE};

type Prf = Hmac<Sha256>;

pub(crate) struct ByHand {
    data_key: Prf,
    index_keys: [Prf; 3],
    id: [u8; 16],
    value: String,
}

/// The tokens and index values of one row.
pub(crate) type Row = (Vec<Vec<u8>>, [[u8; 36]; 3]);

impl ByHand {
    pub(crate) fn new(id: [u8; 16], value: &str) -> Self {
        let prf = |n| Prf::new_from_slice(&[n; 32]).expect("HMAC takes keys of any length");
        Self {
            data_key: prf(1),
            index_keys: [prf(2), prf(3), prf(4)],
            id,
            value: value.to_owned(),
        }
    }

    pub(crate) fn seal_row(&self) -> Row {
        let mut random = [0; 12 + 8 * 12];
        getrandom::fill(&mut random).expect("the system has randomness");
        let (r12, nonces) = random.split_at(12);
        let row = self.row();
        let (head, com, key) = self.start(r12, &row);
        let mut aad = aad_prefix(&head, &com);
        let tokens = COLUMNS.iter().zip(nonces.chunks_exact(12));
        let tokens = tokens.map(|(column, nonce)| seal(&key, &mut aad, column, nonce, &self.value));
        (tokens.collect(), [0, 1, 2].map(|n| self.index(n)))
    }

    pub(crate) fn open_row(&self, (mut tokens, _): Row) -> usize {
        let row = self.row();
        let (com, key) = self.derive(tokens[0][..17].try_into().expect("a head has 17 bytes"), &row);
        let mut aad = aad_prefix(&tokens[0][..17], &com);
        let mut len = 0;
        for (token, column) in tokens.iter_mut().zip(COLUMNS) {
            len += open(&key, &mut aad, token, column);
        }
        len
    }

    pub(crate) fn seal_field(&self, value: &str) -> Vec<u8> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).expect("the system has randomness");
        let row = self.row();
        let (head, com, key) = self.start(&random[..12], &row);
        seal(
            &key,
            &mut aad_prefix(&head, &com),
            COLUMNS[0],
            &random[12..],
            value,
        )
    }

    /// From a token that stays as it is.
    pub(crate) fn open_field(&self, token: &[u8]) -> usize {
        let mut token = token.to_vec();
        let row = self.row();
        let (com, key) = self.derive(token[..17].try_into().expect("a head has 17 bytes"), &row);
        let mut aad = aad_prefix(&token[..17], &com);
        open(&key, &mut aad, &mut token, COLUMNS[0])
    }

    /// `ROW`
    fn row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(96);
        row.extend_from_slice(&5_u32.to_be_bytes());
        lp(&mut row, APP.as_bytes());
        row.extend_from_slice(&[0; 4]);
        lp(&mut row, TABLE.as_bytes());
        row.extend_from_slice(&[0, 0, 0, 18, 1, b'u']);
        row.extend_from_slice(&self.id);
        row.extend_from_slice(&[0; 4]);
        row
    }

    fn start(&self, r12: &[u8], row: &[u8]) -> ([u8; 17], [u8; 16], LessSafeKey) {
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970")
            .as_nanos();
        let clock = u64::try_from(clock).expect("a clock before 2554").to_be_bytes();
        let salt = kdf(&self.data_key, 1, "phield.v1.salt", &[r12, &clock, row], 96);
        let mut head = [0; 17];
        head[0] = 0x11;
        head[4] = 7;
        head[5..].copy_from_slice(&salt[..12]);
        let (com, key) = self.derive(head, row);
        (head, com, key)
    }

    fn derive(&self, head: [u8; 17], row: &[u8]) -> ([u8; 16], LessSafeKey) {
        let mut key = kdf(&self.data_key, 1, "phield.v1.row", &[&head, row], 384);
        let com = kdf(&self.data_key, 2, "phield.v1.row", &[&head, row], 384);
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes"));
        key.zeroize();
        (com[..16].try_into().expect("a commitment has 16 bytes"), aead)
    }

    fn index(&self, n: usize) -> [u8; 36] {
        let mut mac = self.index_keys[n].clone();
        mac.update(&[0, 0, 0, 0, 1]);
        mac.update(&24_u32.to_be_bytes());
        mac.update(self.value.as_bytes());
        let mut index = [0; 36];
        index[3] = 5;
        index[4..].copy_from_slice(&mac.finalize().into_bytes());
        index
    }
}

fn lp(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("short").to_be_bytes());
    out.extend_from_slice(bytes);
}

fn kdf(prf: &Prf, counter: u32, label: &str, context: &[&[u8]], bits: u32) -> [u8; 32] {
    let mut mac = prf.clone();
    mac.update(&counter.to_be_bytes());
    mac.update(label.as_bytes());
    mac.update(&[0]);
    for part in context {
        mac.update(part);
    }
    mac.update(&bits.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// `HEAD ‖ COM`, to which each field adds its own part.
fn aad_prefix(head: &[u8], com: &[u8; 16]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(72);
    aad.extend_from_slice(head);
    aad.extend_from_slice(com);
    aad
}

fn set_column(aad: &mut Vec<u8>, column: &str) {
    aad.truncate(33);
    aad.extend_from_slice(&2_u32.to_be_bytes());
    lp(aad, column.as_bytes());
    aad.extend_from_slice(&[0; 4]);
}

fn seal(key: &LessSafeKey, aad: &mut Vec<u8>, column: &str, nonce: &[u8], value: &str) -> Vec<u8> {
    let padded = (value.len() + 2).next_multiple_of(16);
    let mut token = Vec::with_capacity(45 + padded + 16);
    token.extend_from_slice(&aad[..33]);
    token.extend_from_slice(nonce);
    token.push(1);
    token.extend_from_slice(value.as_bytes());
    token.push(0x80);
    token.resize(45 + padded, 0);
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("a nonce has 12 bytes");
    set_column(aad, column);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&aad), &mut token[45..]);
    token.extend_from_slice(tag.expect("the body is short").as_ref());
    token
}

/// Opens in place, reads the frame, and erases the value in words.
fn open(key: &LessSafeKey, aad: &mut Vec<u8>, token: &mut [u8], column: &str) -> usize {
    assert_eq!(&token[17..33], &aad[17..33], "the commitment");
    let nonce = Nonce::try_assume_unique_for_key(&token[33..45]).expect("a nonce has 12 bytes");
    set_column(aad, column);
    let frame = key
        .open_in_place(nonce, Aad::from(&aad), &mut token[45..])
        .expect("the token opens");
    let end = frame
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("a frame has a marker");
    assert_eq!((frame[0], frame[end]), (1, 0x80));
    let len = std::str::from_utf8(&frame[1..end])
        .expect("the value is text")
        .len();
    let mut words = frame.chunks_exact_mut(8);
    for word in words.by_ref() {
        let mut erased = u64::from_ne_bytes((&*word).try_into().expect("a word has 8 bytes"));
        erased.zeroize();
        word.copy_from_slice(&erased.to_ne_bytes());
    }
    words.into_remainder().zeroize();
    std::hint::black_box(frame);
    len
}
