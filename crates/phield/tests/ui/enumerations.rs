//! Columns of enumerations are held to the rules of bools: one padded length, declared indexes.
use phield::{EncryptedPhi, Phi, PhiValue};

#[derive(Debug, Clone, PhiValue)]
enum Sex {
    Female,
    Male,
}

/// Names in two blocks of 16 bytes.
#[derive(Debug, Clone, PhiValue)]
enum Status {
    Ill,
    #[phi(name = "under observation")]
    UnderObservation,
}

// An enumeration is padded.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationUnpadded {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    sex: Phi<Sex>,
}

// All values of an enumeration have one padded length.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationOfTwoBlocks {
    #[phi(row_id)]
    id: i64,
    status: Phi<Status>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationFixedTooShort {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "fixed(18)")]
    status: Option<Phi<Option<Status>>>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationPadmeTooShort {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "padme(18)")]
    status: Phi<Status>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct BoolFixedTooShort {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "fixed(2)")]
    flag: Phi<bool>,
}

// An index over an enumeration is declared.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationIndexed {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    sex: Phi<Sex>,
}

// A slow index shows which rows are alike as a fast one does.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationIndexedSlowly {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "pbkdf2-sha256-i600000"))]
    sex: Option<Phi<Sex>>,
}

// A compound index over enumerations and bools alone is declared.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(sex = "exact", flag = "exact")))]
struct EnumerationCompound {
    #[phi(row_id)]
    id: i64,
    sex: Phi<Sex>,
    flag: Phi<bool>,
}

// With all values in one padded length, and declared, it compiles.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct EnumerationFits {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "fixed(19)", index(leaks_equality))]
    status: Phi<Option<Status>>,
}

fn main() {}
