//! What names do not tell: a `Phi` behind an alias or in a struct is no plain column, and rules hold behind aliases.
use chrono::NaiveDate;
use phield::{EncryptedPhi, Phi};

// A `Phi` behind an alias is no plain column.
type HiddenAliasName = Phi<String>;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenAlias {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    maiden_name: HiddenAliasName,
}

// A `Phi` behind an alias in a collection is no plain column.
type HiddenAliasVecName = Phi<String>;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenAliasVec {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    other_names: Vec<HiddenAliasVecName>,
}

// A `Phi` in a struct is no plain column.
#[derive(Debug, Clone)]
struct HiddenStructPerson {
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenStruct {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    mother: HiddenStructPerson,
}

// A `Phi` behind a shared pointer is no plain column.
type HiddenPointerName = std::sync::Arc<Phi<String>>;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenPointer {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    shared: HiddenPointerName,
}

// A bool behind an alias is padded.
type PadNoneBoolAliasFlag = bool;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadNoneBoolAlias {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    flag: Phi<PadNoneBoolAliasFlag>,
}

// An index over a bool behind an alias is declared.
type IndexBoolAliasFlag = bool;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct IndexBoolAlias {
    #[phi(row_id)]
    id: i64,
    #[phi(index)]
    flag: Phi<IndexBoolAliasFlag>,
}

// A normalizer takes the type of its field, known by name or not.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NormalizerTypeUnknown {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    born: Phi<NaiveDate>,
}

fn main() {}
