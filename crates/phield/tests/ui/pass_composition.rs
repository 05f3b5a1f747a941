//! Parts of models, generic models and flattened structs, in a crate with strict lints.
#![deny(warnings, missing_docs, unreachable_pub, unused, unused_qualifications, elided_lifetimes_in_paths, dead_code)]
#![deny(missing_debug_implementations, unnameable_types, trivial_casts, single_use_lifetimes, private_interfaces)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(unused_crate_dependencies)]

use phield::{EncryptedPhi, Phi, Value};
use uuid::Uuid;

/// An alias.
pub type Name = Phi<String>;

/// A model.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "visits", sql_name = "emr.visits", subject_keys)]
pub struct Visit {
    /// Tenant.
    #[phi(tenant)]
    pub clinic: String,
    /// Row id.
    #[phi(row_id)]
    pub patient: i64,
    /// Row id.
    #[phi(row_id)]
    pub number: i64,
    /// Subject.
    #[phi(subject)]
    pub person: Uuid,
    /// Revision.
    #[phi(extra)]
    pub revision: i64,
    /// Note.
    #[phi(sql_name = "order", store = "text", pad = "padme(64)")]
    pub note: Option<Phi<String>>,
    /// By its alias.
    #[phi(sealed)]
    alias: Name,
    /// Filled by the database.
    #[phi(generated)]
    pub serial: i64,
}

/// A part of it.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(part_of = Visit, subject_keys)]
pub struct VisitNote {
    /// Row id, in another order of fields.
    #[phi(row_id)]
    pub patient: i64,
    /// Note.
    #[phi(store = "text", sql_name = "order")]
    pub note: Option<Phi<String>>,
    /// By its alias.
    #[phi(sealed)]
    pub alias: Name,
    #[phi(row_id)]
    number: i64,
    #[phi(tenant)]
    clinic: String,
    #[phi(subject)]
    person: Uuid,
    #[phi(extra)]
    revision: i64,
    /// Filled by the database.
    pub serial: i64,
}

/// An unbound model, seen from outside.
mod inner {
    use phield::{EncryptedPhi, Phi};

    /// A model.
    #[derive(EncryptedPhi)]
    #[phi(table = "t", unbound)]
    pub(crate) struct Visible {
        pub(super) value: Phi<u64>,
        pub(in crate::inner) other: Phi<u64>,
    }

    pub(crate) fn visible() -> Visible {
        let visible = Visible { value: Phi::new(5), other: Phi::new(6) };
        assert_eq!(visible.other.expose(), &6);
        visible
    }
}

/// A part of it.
#[derive(EncryptedPhi)]
#[phi(part_of = inner::Visible, unbound)]
struct OfVisible {
    value: Phi<u64>,
}

/// Columns of several models.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(embedded)]
pub struct Address {
    /// Street.
    #[phi(column = "line", sql_name = "street_line", max_len = 100)]
    pub street: Phi<String>,
    /// By its alias.
    #[phi(sealed, store = "text")]
    pub(crate) alias: Name,
    zip: Option<Phi<String>>,
    /// Plain.
    #[phi(sql_type = "CHAR(2)")]
    pub country: String,
}

/// Nothing but them.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "addresses")]
pub struct Addresses {
    /// Row id.
    #[phi(row_id, sql_name = "order")]
    pub id: Uuid,
    /// An address.
    #[phi(flatten = "home_")]
    pub home: Address,
    /// An address.
    #[phi(flatten)]
    work: Address,
}

/// Parameters of every kind, with the names of what the expansion calls its own.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(value = "exact", text = "name"), leaks_equality))]
pub struct Generic<E, R: Clone, DB, T = String, const N: usize = 0>
where
    T: Value,
    E: PartialEq,
{
    /// Row id.
    #[phi(row_id, subject)]
    pub id: DB,
    /// A value.
    #[phi(index(leaks_equality))]
    pub value: Phi<T>,
    /// Text.
    pub text: Phi<String>,
    /// A value.
    pub(crate) option: Option<Phi<T>>,
    /// Flattened.
    #[phi(flatten = "a_")]
    pub address: Address,
    /// Plain.
    pub array: [E; N],
    plain: Option<R>,
}

/// A part of it.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(part_of = Generic<E, R, DB, T, N>)]
pub struct Part<E: PartialEq, R: Clone, DB, T: Value, const N: usize> {
    /// Row id.
    #[phi(row_id, subject)]
    pub id: DB,
    /// A value.
    pub value: Phi<T>,
    /// Plain.
    pub array: [E; N],
    /// Plain.
    pub plain: Option<R>,
}

/// A part of one instance of it.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(part_of = Generic<i64, i64, i64, bool, 3>)]
pub struct OfInstance {
    #[phi(row_id, subject)]
    id: i64,
    /// A value.
    pub value: Phi<bool>,
    /// Plain.
    pub array: [i64; 3],
}

fn main() {
    let keyring = phield::Keyring::ephemeral(phield::AppName::from_static("emr")).unwrap();
    let sealed = inner::visible().seal(&keyring).unwrap();
    let part = SealedOfVisible { value: sealed.value };
    assert_eq!(part.open(&keyring).unwrap().value.expose(), &5);
    let address = Address { street: "s".into(), alias: "a".into(), zip: None, country: "NJ".to_owned() };
    let generic = Generic {
        id: 1_i64,
        value: Phi::new(true),
        text: "x".into(),
        option: None,
        address,
        array: [1_i64, 2, 3],
        plain: Some(5_i64),
    };
    let sealed = generic.seal(&keyring).unwrap();
    assert_eq!(sealed.clone().open(&keyring).unwrap().array, [1, 2, 3]);
    assert!(SealedGeneric::<i64, i64, i64, bool, 3>::COLUMN_LIST.contains("a_street_line, a_alias"));
    let part = SealedOfInstance { id: sealed.id, value: sealed.value, array: sealed.array };
    assert!(part.open(&keyring).unwrap().value.expose());
    assert_eq!(SealedPart::<i64, i64, i64, bool, 3>::COLUMNS, ["id", "value", "array", "plain"]);
    let _ = (Visit::SCHEMA, SealedVisitNote::COLUMN_LIST, Addresses::SCHEMA);
}
