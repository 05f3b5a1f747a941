//! What columns are declared with, and the errors that say where.

use crate::binding::{InTenant, OfSubject, Unbound, WithExtra};
use crate::column::Column;
use crate::context::Row;
use crate::error::{OpenError, SealError, Unsealable};
use crate::field::Field;
use crate::frame::Padding;
use crate::keyring::Keyring;
use crate::name::{AppName, ColumnName, TableName};
use crate::phi::Phi;
use crate::row_id::RowId;
use crate::sealed::Sealed;

type Bound = WithExtra<InTenant<&'static str, OfSubject<(i64, &'static str), i64>>, i64>;

fn column() -> Column<String, Bound> {
    Column::new("visits", "note", Padding::Block16)
}

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

fn visit() -> Bound {
    WithExtra {
        row: InTenant {
            tenant: "north",
            row: OfSubject {
                row: (7, "MRN-4711"),
                subject: 3,
            },
        },
        extra: 1,
    }
}

/// Every part is bound: with one of them changed, the token does not open.
#[test]
fn every_part_of_a_binding_is_bound() {
    let (keyring, value) = (keyring(), Phi::from("cough"));
    let sealed: Sealed<String> = column().seal(&keyring, &visit(), &value).unwrap();
    assert_eq!(
        column().open(&keyring, &visit(), &sealed).unwrap().expose(),
        "cough"
    );
    let changed: [fn(&mut Bound); 5] = [
        |row| row.extra = 2,
        |row| row.row.tenant = "south",
        |row| row.row.row.subject = 4,
        |row| row.row.row.row.0 = 8,
        |row| row.row.row.row.1 = "MRN-4712",
    ];
    for change in changed {
        let mut row = visit();
        change(&mut row);
        let error = column().open(&keyring, &row, &sealed).unwrap_err();
        assert_eq!(error, OpenError::Authentication);
    }
}

/// A column goes into rows of its own kind alone: without the tenant or the `extra` it is not sealed.
#[test]
fn a_column_needs_all_that_it_is_declared_with() {
    let (keyring, value, table) = (keyring(), Phi::from("cough"), TableName::from_static("visits"));
    let visit = visit();
    let rows = [
        Row::new(&table, &visit.row),
        Row::new(&table, &visit.row.row),
        Row::new(&table, &visit.row.row.row),
        Row::new(&table, &Unbound),
    ];
    for row in rows {
        let sealed = keyring.seal_row(&row.unwrap(), [column().field(&value).unwrap()]);
        assert_eq!(sealed.unwrap_err(), SealError::WrongBinding);
    }
    let row = Row::new(&table, &visit).unwrap();
    keyring.seal_row(&row, [column().field(&value).unwrap()]).unwrap();
}

#[test]
fn an_error_says_where_and_shows_no_row_id() {
    let (keyring, value) = (keyring(), Phi::from("cough"));
    let sealed: Sealed<String> = column().seal(&keyring, &visit(), &value).unwrap();
    let mut wrong = visit();
    wrong.extra = 9;
    let error = column().open(&keyring, &wrong, &sealed).unwrap_err();
    assert_eq!(error.to_string(), "visits.note: the token does not authenticate");
    assert_eq!(format!("{error:?}"), "OpenRowError(visits.note, Authentication)");
    assert_eq!(
        (error.table().as_str(), error.column().unwrap().as_str()),
        ("visits", "note")
    );
    let id = RowId::Composite(vec![RowId::Integer(7), RowId::Text("MRN-4711".into())]);
    assert_eq!(error.row_id(), Some(&id));
    assert!(!format!("{error:?} {error:#?} {error} {:?}", error.row_id()).contains("4711"));
    assert!(std::error::Error::source(&error).is_none());
}

#[test]
fn a_tenant_that_is_no_name_is_refused() {
    let keyring = keyring();
    let column = Column::<String, InTenant<String, i64>>::new("visits", "note", Padding::Block16);
    let row = InTenant {
        tenant: "north clinic".to_owned(),
        row: 1,
    };
    let sealed = column
        .clone()
        .seal::<Sealed<String>>(&keyring, &row, &Phi::from("x"));
    assert_eq!(sealed.unwrap_err(), Unsealable::Tenant.into());
    let right = InTenant {
        tenant: "north".to_owned(),
        row: 1,
    };
    let sealed: Sealed<String> = column.clone().seal(&keyring, &right, &Phi::from("x")).unwrap();
    let error = column.open(&keyring, &row, &sealed).unwrap_err();
    assert_eq!((error.cause(), error.column()), (OpenError::Authentication, None));
}

#[test]
fn a_column_with_a_size_refuses_what_is_longer() {
    let keyring = keyring();
    let column = Column::<String, i64>::new("visits", "note", Padding::Block16).with_max_len(5);
    let seal = |text: &str| {
        column
            .clone()
            .seal::<Sealed<String>>(&keyring, &1, &Phi::from(text))
    };
    assert!(seal("cough").is_ok());
    assert_eq!(seal("coughs").unwrap_err(), Unsealable::ValueTooLong.into());
}

/// With an `extra` of the row and another one of the field, one would be lost: neither is taken.
#[test]
fn a_field_has_one_extra() {
    let (keyring, value, table) = (keyring(), Phi::from("cough"), TableName::from_static("visits"));
    let column = ColumnName::from_static("note");
    let field = || Field::new(column.clone(), &value).unwrap();
    let five = WithExtra {
        row: 1_i64,
        extra: 5_i64,
    };
    let row = Row::new(&table, &five).unwrap();
    let both = keyring.seal_row(&row, [field().with_extra(b"pos0")]);
    assert_eq!(both.unwrap_err(), SealError::WrongBinding);
    let [token] = keyring.seal_row(&row, [field()]).unwrap();
    let sealed: Sealed<String> = token.required().unwrap();
    let mut opener = keyring.opener(&row).unwrap();
    let five = b"i\0\0\0\0\0\0\0\x05";
    let opened = opener.open_field(&column, Some(five), sealed.clone());
    assert_eq!(opened.unwrap_err(), OpenError::Authentication);
    assert!(opener.open_field(&column, None, sealed).is_ok());
}

#[test]
fn a_list_keeps_the_size_of_its_column() {
    let keyring = keyring();
    let column = Column::<String, i64>::new("visits", "notes", Padding::Block16).with_max_len(4);
    let list = [Phi::from("long"), Phi::from("longer")];
    let sealed = column.clone().seal_list::<Sealed<String>>(&keyring, &1, &list);
    assert_eq!(sealed.unwrap_err(), Unsealable::ValueTooLong.into());
    assert!(
        column
            .seal_list::<Sealed<String>>(&keyring, &1, &list[..1])
            .is_ok()
    );
}
