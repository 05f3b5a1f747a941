//! The key schedule: every label and every derivation of format v1, and nothing else.
//!
//! `KDF(k, label, context, n)` is SP 800-108r1 in counter mode with HMAC-SHA-256 (format §1); every key is 32 bytes.

use crate::context::KeyContext;
use crate::kdf;
use crate::key::{
    CheckedKey, DataKey, FileContentKey, FileKey, IndexKey, Kek, KeyMaterial, Pepper, RingKey, RowKey,
    SubjectSecret, UidKey, UidPepper, WrapKey,
};
use crate::token::{Commitment, Head, RowSalt};
use crate::wipe::Wiped;

const KCV_LABEL: &str = "phield.v1.kcv";
const WRAP_LABEL: &str = "phield.v1.wrap";

/// `salt = KDF(data key, "phield.v1.salt", r12 ‖ u64(clock) ‖ ROW, 12)` (§1)
pub(crate) fn row_salt(data_key: &DataKey, r12: &[u8; 12], clock: u64, row: &[u8]) -> RowSalt {
    let context: [&[u8]; 3] = [r12, &clock.to_be_bytes(), row];
    RowSalt(data_key.prf().derive("phield.v1.salt", &context))
}

/// `K_row ‖ COM = KDF(data key, "phield.v1.row", HEAD ‖ ROW, 48)` (§4)
pub(crate) fn row_key(data_key: &DataKey, head: &Head, row: &[u8]) -> (RowKey, Commitment) {
    let mut derived = zeroize::Zeroizing::new([0_u8; 48]);
    let (prf, context) = (data_key.prf(), [head.as_bytes(), row]);
    prf.derive_into("phield.v1.row", &context, &mut *derived);
    let (key, commitment) = derived.split_at(32);
    let mut com = [0; 16];
    com.copy_from_slice(commitment);
    (RowKey::init_with(|k| k.copy_from_slice(key)), Commitment(com))
}

/// `data key of the subject = KDF(data key, "phield.v1.subject", S ‖ LP(subject), 32)` (§8.3)
pub(crate) fn subject_data_key(data_key: &DataKey, secret: &SubjectSecret, subject: &[u8]) -> DataKey {
    let context = [secret.expose_bytes().as_slice(), subject];
    DataKey::init_with(|k| data_key.prf().derive_into("phield.v1.subject", &context, k))
}

/// `K_index = KDF(pepper, "phield.v1.index", ICTX, 32)` (§7)
pub(crate) fn index_key(pepper: &Pepper, ictx: &[u8]) -> IndexKey {
    IndexKey::init_with(|k| pepper.prf().derive_into("phield.v1.index", &[ictx], k))
}

/// `s = KDF(pepper, "phield.v1.index-salt", ICTX, 16)` (§7)
pub(crate) fn index_salt(pepper: &Pepper, ictx: &[u8]) -> [u8; 16] {
    pepper.prf().derive("phield.v1.index-salt", &[ictx])
}

/// What a device makes `t = KDF(pepper, "phield.v1.index-device", context, 32)` of, in one HMAC (§7)
pub(crate) fn device_index_message(context: &[u8]) -> Wiped {
    kdf::message("phield.v1.index-device", context)
}

/// `K_uid = KDF(uid pepper, "phield.v1.uid", UCTX, 32)` (§7)
pub(crate) fn uid_key(pepper: &UidPepper, uctx: &[u8]) -> UidKey {
    UidKey::init_with(|k| pepper.prf().derive_into("phield.v1.uid", &[uctx], k))
}

/// `KCV = KDF(key, "phield.v1.kcv", KREC, 32)` (§8.1)
pub(crate) fn check_value(key: &KeyMaterial, context: &KeyContext) -> [u8; 32] {
    let key = CheckedKey::new(key.expose_bytes());
    key.prf().derive(KCV_LABEL, &[&context.encode()])
}

/// What a device makes `KCV` of, in one HMAC (§8.1)
pub(crate) fn check_value_message(context: &KeyContext) -> Wiped {
    kdf::message(KCV_LABEL, &context.encode())
}

/// `K_wrap = KDF(KEK, "phield.v1.wrap", LP(KREC, r), 32)` (§8.1)
pub(crate) fn wrap_key(kek: &Kek, wrap_context: &[u8]) -> WrapKey {
    WrapKey::init_with(|k| kek.prf().derive_into(WRAP_LABEL, &[wrap_context], k))
}

/// What an HSM makes `K_wrap` of, in one HMAC (§8.1)
pub(crate) fn wrap_key_message(wrap_context: &[u8]) -> Wiped {
    kdf::message(WRAP_LABEL, wrap_context)
}

/// `MAC = KDF(ring key, "phield.v1.manifest", SHA-256(MANIFEST), 32)` (§8.2)
pub(crate) fn manifest_mac(ring_key: &RingKey, manifest_sha256: &[u8; 32]) -> [u8; 32] {
    ring_key.prf().derive("phield.v1.manifest", &[manifest_sha256])
}

/// `MAC = KDF(ring key, "phield.v1.coverage", SHA-256(canonical JSON of the report), 32)` (decision 0008)
pub(crate) fn coverage_mac(ring_key: &RingKey, report_sha256: &[u8; 32]) -> [u8; 32] {
    ring_key.prf().derive("phield.v1.coverage", &[report_sha256])
}

/// `KDF(M, "phield.v1.local-commit", file[0..31], 16)` (§8.4)
pub(crate) fn local_commitment(file_key: &FileKey, header: &[u8]) -> [u8; 16] {
    file_key.prf().derive("phield.v1.local-commit", &[header])
}

/// `KDF(M, "phield.v1.local", file[0..31], 32)` (§8.4)
pub(crate) fn local_content_key(file_key: &FileKey, header: &[u8]) -> FileContentKey {
    FileContentKey::init_with(|k| file_key.prf().derive_into("phield.v1.local", &[header], k))
}
