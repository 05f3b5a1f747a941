//! Attributes are known, stand once, in their form, and where they mean something.
use phield::{EncryptedPhi, Phi};

// Attributes are known.
#[derive(EncryptedPhi)]
#[phi(table = "t", tabel = "t")]
struct AttributeUnknownOfStruct {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeUnknownOfField {
    #[phi(row_id)]
    id: i64,
    #[phi(padding = "none")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeUnknownOfIndex {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalise = "name"))]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(names = "n", name = "n", on(name = "name", born = "date")))]
struct AttributeUnknownOfCompound {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

// An attribute stands once.
#[derive(EncryptedPhi)]
#[phi(table = "t", table = "u")]
struct AttributeDuplicateOfStruct {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeDuplicateOfField {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    #[phi(pad = "padme(64)")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeDuplicateOfIndex {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name", normalize = "exact"))]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeDuplicateIndexTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(index, index(normalize = "name"))]
    name: Phi<String>,
}

// An attribute stands in its form.
#[derive(EncryptedPhi)]
#[phi(table)]
struct AttributeFormTable {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", unbound = "yes")]
struct AttributeFormUnboundText {
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeFormPad {
    #[phi(row_id)]
    id: i64,
    #[phi(pad)]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeFormIndexText {
    #[phi(row_id)]
    id: i64,
    #[phi(index = "name")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeFormRowIdText {
    #[phi(row_id = "id")]
    id: i64,
    name: Phi<String>,
}

// An attribute is a list.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeSyntaxBare {
    #[phi(row_id)]
    id: i64,
    #[phi]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct AttributeSyntaxNumber {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = 16)]
    name: Phi<String>,
}

// Some attributes are for sealed fields.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PlainAttributesPad {
    #[phi(row_id)]
    id: i64,
    #[phi(pad = "none")]
    state: String,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PlainAttributesStore {
    #[phi(row_id)]
    id: i64,
    #[phi(store = "text")]
    state: String,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PlainAttributesColumn {
    #[phi(row_id)]
    id: i64,
    #[phi(column = "c")]
    state: String,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PlainAttributesIndex {
    #[phi(row_id)]
    id: i64,
    #[phi(index)]
    state: String,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct PlainAttributesRowId {
    #[phi(row_id, column = "c")]
    id: i64,
    name: Phi<String>,
}

// Storages are known.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct StoreUnknown {
    #[phi(row_id)]
    id: i64,
    #[phi(store = "json")]
    name: Phi<String>,
}

fn main() {}
