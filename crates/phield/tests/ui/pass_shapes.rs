//! Everything that a model may be, in a crate with strict lints.
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, elided_lifetimes_in_paths, dead_code)]
#![deny(missing_debug_implementations, unnameable_types, trivial_casts, single_use_lifetimes, private_interfaces)]
#![allow(unused_crate_dependencies)]

use phield::{EncryptedPhi, Erase, Json, Phi, PhiValue};
use uuid::Uuid;

/// An alias.
pub type Name = Phi<String>;
/// An alias.
pub type MaybeName = Option<Phi<String>>;
/// An alias.
pub type Flag = bool;

/// Every option.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "clinic.patients")]
#[phi(index(name = "family_birth_date", on(family = "name", birth_date = "date")))]
#[phi(index(name = "family_zip", on(family = "name", zip = "digits"), leaks_equality))]
pub struct Patient {
    /// Row id.
    #[phi(row_id)]
    pub id: Uuid,
    /// Family name.
    pub family: Phi<String>,
    /// Birth date.
    pub birth_date: Option<Phi<chrono::NaiveDate>>,
    /// ZIP code.
    pub(crate) zip: Phi<String>,
    /// SSN.
    #[phi(index(normalize = "ssn", name = "ssn"), column = "social-security", store = "text")]
    ssn: Phi<String>,
    /// By its alias.
    #[phi(sealed, index(normalize = "name"), pad = "none")]
    pub alias: Name,
    /// By its alias.
    #[phi(sealed, store = "text", pad = "padme(64)")]
    pub maybe: MaybeName,
    /// Indexed, and said so.
    #[phi(index(leaks_equality), store = "binary", pad = "block(16)")]
    pub flag: Phi<Flag>,
    /// A keyword.
    #[phi(pad = "fixed(32)")]
    pub r#type: Phi<Vec<u8>>,
    /// Plain, of any type.
    pub tags: Vec<Option<String>>,
}

/// Slow, in a device, and cut short.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "t", unbound, subject_keys)]
#[phi(index(name = "slow_pair", on(slow = "name", device = "digits"), algorithm = "pbkdf2-sha256-i1000000", bits = 64))]
pub struct Indexed {
    /// Whose the row is.
    #[phi(subject)]
    pub patient: Uuid,
    /// Slow.
    #[phi(index(normalize = "ssn", algorithm = "argon2id-m65536-t3-p1", bits = 16))]
    pub slow: Phi<String>,
    /// In a device.
    #[phi(index(algorithm = "device-hmac-sha256", name = "d"))]
    pub device: Option<Phi<String>>,
    /// Fast, and said so.
    #[phi(index(algorithm = "hmac-sha256", bits = 256))]
    pub fast: Phi<String>,
}

/// A row of one person, who is the row.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "t")]
pub struct OfPerson {
    /// Row id and subject.
    #[phi(row_id, subject)]
    pub id: String,
    /// Any value.
    pub address: Phi<Json<Vec<String>>>,
}

/// Fields with the names of what the expansion calls its own.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "t", index(name = "three", on(keyring = "exact", table = "exact", row = "exact")))]
pub struct Named {
    /// A field.
    #[phi(row_id)]
    pub row_id: i64,
    /// A field.
    pub keyring: Phi<String>,
    /// A field.
    pub table: Phi<String>,
    /// A field.
    pub row: Phi<String>,
    /// A field.
    #[phi(index(algorithm = "pbkdf2-sha256-i600000"))]
    pub token_0: Phi<String>,
    /// A field.
    #[phi(index)]
    pub executor: Option<Phi<String>>,
    /// A field.
    pub index_0: Phi<String>,
}

/// In a tenant, with a composite row id, its names in SQL, and everything that a schema says.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(
    table = "visits",
    sql_name = "emr.encounters",
    index(name = "code_note", on(code = "exact", note = "name"), sql_name = "code_note_idx", unique)
)]
pub struct Visit {
    /// Tenant.
    #[phi(tenant, sql_name = "clinic_id", sql_type = "VARCHAR(40)")]
    pub clinic: String,
    /// Row id.
    #[phi(row_id, sql_name = "patient")]
    pub patient_id: i64,
    /// Row id.
    #[phi(row_id)]
    pub number: i32,
    /// Subject.
    #[phi(subject)]
    pub person: Uuid,
    /// Note.
    #[phi(sql_name = "select", column = "remark", max_len = 4000)]
    pub note: Phi<String>,
    /// Code.
    #[phi(index(sql_name = "icd index", unique), max_len = 16777216)]
    pub code: Option<Phi<String>>,
    /// Filled by the database.
    #[phi(generated, sql_type = "BIGINT GENERATED ALWAYS AS IDENTITY")]
    pub serial: i64,
}

/// Sealed as a whole.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "orders", unbound)]
pub struct Order {
    /// Tenant.
    #[phi(tenant)]
    pub clinic: Uuid,
    /// Revision.
    #[phi(extra)]
    pub revision: i64,
    /// Drug.
    #[phi(index(unique))]
    pub drug: Phi<String>,
}

/// A composite row id of eight columns.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "t")]
pub struct Composite {
    /// Row id.
    #[phi(row_id)]
    pub a: i64,
    /// Row id.
    #[phi(row_id)]
    pub b: String,
    /// Row id.
    #[phi(row_id)]
    pub c: Vec<u8>,
    /// Row id.
    #[phi(row_id)]
    pub d: Uuid,
    /// Row id.
    #[phi(row_id)]
    pub e: u8,
    /// Row id.
    #[phi(row_id)]
    pub f: i32,
    /// Row id.
    #[phi(row_id)]
    pub g: phield::Uid,
    /// Row id and subject.
    #[phi(row_id, subject)]
    pub h: i64,
    /// A field.
    pub value: Phi<i64>,
}

/// A newtype.
#[derive(Debug, Clone, PartialEq, PhiValue)]
pub struct Mrn(String);

/// An enumeration.
#[derive(Debug, Clone, Copy, PartialEq, PhiValue)]
#[non_exhaustive]
pub enum Status {
    /// A variant.
    #[phi(name = "a")]
    A,
    /// A variant.
    r#B,
}

/// Erased.
#[derive(Debug, Erase)]
pub struct Parts<'a, T: Clone, const N: usize>
where
    T: PartialEq,
{
    /// A field.
    pub field_0: [T; N],
    /// A field.
    pub field_1: Box<Kinds>,
    /// A field.
    pub nothing: Nothing,
    marker: Marker<'a>,
}

/// Erased by hand.
#[derive(Debug)]
pub struct Marker<'a>(std::marker::PhantomData<&'a ()>);

impl Erase for Marker<'_> {
    fn erase(&mut self) {}
}

/// Erased.
#[derive(Debug, Erase)]
pub enum Kinds {
    /// A variant.
    Unit,
    /// A variant.
    Tuple(Mrn, Status),
    /// A variant.
    Named {
        /// A field.
        r#type: i64,
    },
}

/// Erased.
#[derive(Debug, Erase)]
pub struct Nothing;

#[derive(Clone, EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Private {
    note: Option<Phi<String>>,
}

#[allow(unused_qualifications)]
mod qualified {
    #[derive(phield::EncryptedPhi)]
    #[phi(table = "t", unbound)]
    pub(crate) struct Paths {
        pub(crate) note: std::option::Option<phield::Phi<std::string::String>>,
    }
}

mod inner {
    use phield::{EncryptedPhi, Phi};

    #[derive(EncryptedPhi)]
    #[phi(table = "t")]
    pub(crate) struct Visible {
        #[phi(row_id)]
        pub(super) order: String,
        pub(super) value: Phi<u64>,
    }
}

fn main() {
    let keyring = phield::Keyring::ephemeral(phield::AppName::from_static("emr")).unwrap();
    let note = Private { note: None };
    assert!(note.seal(&keyring).unwrap().note.is_none());
    let visible = inner::Visible { order: "1".to_owned(), value: Phi::new(5) };
    assert_eq!(visible.seal(&keyring).unwrap().open(&keyring).unwrap().value.expose(), &5);
    assert_eq!(inner::SealedVisible::COLUMN_LIST, "\"order\", value");
    let paths = qualified::Paths { note: Some("x".into()) };
    assert!(paths.seal(&keyring).unwrap().open(&keyring).unwrap().note.is_some());
    let _ = Patient::SCHEMA;
}
