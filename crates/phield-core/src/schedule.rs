//! The key schedule: every label and every derivation of format v1, and nothing else.
//!
//! `KDF(k, label, context, n)` is SP 800-108r1 in counter mode with HMAC-SHA-256 (format §1); every key is 32 bytes.

use crate::context::KeyContext;
use crate::key::{
    CheckedKey, DataKey, FileContentKey, FileKey, IndexKey, Kek, KeyMaterial, Pepper, RingKey, RowKey,
    WrapKey,
};
use crate::token::{Commitment, Head, RowSalt};

const SALT_LABEL: &str = "phield.v1.salt";
const ROW_LABEL: &str = "phield.v1.row";
const INDEX_LABEL: &str = "phield.v1.index";
const KCV_LABEL: &str = "phield.v1.kcv";
const WRAP_LABEL: &str = "phield.v1.wrap";
const MANIFEST_LABEL: &str = "phield.v1.manifest";
const LOCAL_COMMIT_LABEL: &str = "phield.v1.local-commit";
const LOCAL_LABEL: &str = "phield.v1.local";

/// `salt = KDF(data key, "phield.v1.salt", r12 ‖ u64(clock) ‖ ROW, 12)` (§1)
pub(crate) fn row_salt(data_key: &DataKey, r12: &[u8; 12], clock: u64, row: &[u8]) -> RowSalt {
    let mut salt = [0; 12];
    data_key
        .prf()
        .derive(SALT_LABEL, &[r12, &clock.to_be_bytes(), row], &mut salt);
    RowSalt(salt)
}

/// `K_row ‖ COM = KDF(data key, "phield.v1.row", HEAD ‖ ROW, 48)` (§4)
pub(crate) fn row_key(data_key: &DataKey, head: &Head, row: &[u8]) -> (RowKey, Commitment) {
    let mut derived = zeroize::Zeroizing::new([0_u8; 48]);
    data_key
        .prf()
        .derive(ROW_LABEL, &[head.as_bytes(), row], &mut *derived);
    let (key, commitment) = derived.split_at(32);
    let mut com = [0; 16];
    com.copy_from_slice(commitment);
    (RowKey::init_with(|k| k.copy_from_slice(key)), Commitment(com))
}

/// `K_index = KDF(pepper, "phield.v1.index", ICTX, 32)` (§7)
pub(crate) fn index_key(pepper: &Pepper, ictx: &[u8]) -> IndexKey {
    let key = KeyMaterial::init_with(|k| pepper.prf().derive(INDEX_LABEL, &[ictx], k));
    IndexKey::new(key.expose_bytes())
}

/// `KCV = KDF(key, "phield.v1.kcv", KREC, 32)` (§8.1)
pub(crate) fn check_value(key: &KeyMaterial, context: &KeyContext) -> [u8; 32] {
    let mut kcv = [0; 32];
    CheckedKey::new(key.expose_bytes())
        .prf()
        .derive(KCV_LABEL, &[&context.encode()], &mut kcv);
    kcv
}

/// `K_wrap = KDF(KEK, "phield.v1.wrap", LP(KREC, r), 32)` (§8.1)
pub(crate) fn wrap_key(kek: &Kek, wrap_context: &[u8]) -> WrapKey {
    WrapKey::init_with(|k| kek.prf().derive(WRAP_LABEL, &[wrap_context], k))
}

/// `MAC = KDF(ring key, "phield.v1.manifest", SHA-256(MANIFEST), 32)` (§8.2)
pub(crate) fn manifest_mac(ring_key: &RingKey, manifest_sha256: &[u8; 32]) -> [u8; 32] {
    let mut mac = [0; 32];
    ring_key
        .prf()
        .derive(MANIFEST_LABEL, &[manifest_sha256], &mut mac);
    mac
}

/// `KDF(M, "phield.v1.local-commit", file[0..31], 16)` (§8.4)
pub(crate) fn local_commitment(file_key: &FileKey, header: &[u8]) -> [u8; 16] {
    let mut commitment = [0; 16];
    file_key
        .prf()
        .derive(LOCAL_COMMIT_LABEL, &[header], &mut commitment);
    commitment
}

/// `KDF(M, "phield.v1.local", file[0..31], 32)` (§8.4)
pub(crate) fn local_content_key(file_key: &FileKey, header: &[u8]) -> FileContentKey {
    FileContentKey::init_with(|k| file_key.prf().derive(LOCAL_LABEL, &[header], k))
}
