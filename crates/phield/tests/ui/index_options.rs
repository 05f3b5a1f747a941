//! Bits and algorithms of an index.
use phield::{EncryptedPhi, Phi};

// An index keeps 1 to 256 bits.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct BitsZero {
    #[phi(row_id)]
    id: i64,
    #[phi(index(bits = 0))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(a = "exact", b = "exact"), bits = 257))]
struct BitsTooMany {
    #[phi(row_id)]
    id: i64,
    a: Phi<String>,
    b: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct BitsText {
    #[phi(row_id)]
    id: i64,
    #[phi(index(bits = "8"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct BitsFlag {
    #[phi(row_id)]
    id: i64,
    #[phi(index(bits))]
    ssn: Phi<String>,
}

// Algorithms are known.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmUnknown {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "scrypt"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(a = "exact", b = "exact"), algorithm = "hmac-sha512"))]
struct AlgorithmUnknownOfCompound {
    #[phi(row_id)]
    id: i64,
    a: Phi<String>,
    b: Phi<String>,
}

// Parameters have one spelling: they are part of the index key.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmWithoutParameters {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "argon2id"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmLeadingZero {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "argon2id-m065536-t3-p1"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmPlus {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "pbkdf2-sha256-i+600000"))]
    ssn: Phi<String>,
}

// Parameters are in bounds.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmTooLittleMemory {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "argon2id-m65535-t3-p1"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmTooFewPasses {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "argon2id-m65536-t2-p1"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmTooManyLanes {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "argon2id-m65536-t3-p256"))]
    ssn: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AlgorithmTooFewIterations {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "pbkdf2-sha256-i599999"))]
    ssn: Phi<String>,
}

// Methods of both forms stand once.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct MethodOfBothForms {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "pbkdf2-sha256-i600000"))]
    ssn: Phi<String>,
    r#async: Phi<String>,
}

fn main() {}
