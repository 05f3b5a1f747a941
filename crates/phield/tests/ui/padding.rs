//! Paddings are known, in bounds, and there for bools.
use phield::{EncryptedPhi, Phi};

// Paddings are known.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadUnknownBlock {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "block(32)")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadUnknownFixed {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "fixed")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadUnknownPadme {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "padme(-1)")]
    name: Phi<String>,
}

// A padding is of 2 bytes to 18 MiB.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadBoundsFixed {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "fixed(1)")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadBoundsPadme {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "padme(18874369)")]
    name: Phi<String>,
}

// A bool is padded.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadNoneBoolBool {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    flag: Phi<bool>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadNoneBoolNullable {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    flag: Phi<Option<bool>>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PadNoneBoolOptional {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    flag: Option<Phi<bool>>,
}

fn main() {}
