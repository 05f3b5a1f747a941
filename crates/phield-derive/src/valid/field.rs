//! The rules of one field.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, Generics, LitStr, Type, Visibility};

use super::entry::{Entries, is_logical_name, logical_name, prefix, sql_identifier};
use super::index::{self, Index};
use super::{Field, Role};
use crate::ast::{InputField, Shape, argument, last_segment, mentions};
use crate::attr::{Attr, AttrValue};
use crate::errors::Errors;
use crate::sql;

/// Longest frame of the format: 18 MiB.
const MAX_PADDED: u32 = 18 << 20;
/// Longest value of the format: 16 MiB.
const MAX_VALUE: u32 = 16 << 20;

/// The attributes of a field.
const KNOWN: &[&str] = &[
    "row_id",
    "tenant",
    "subject",
    "extra",
    "generated",
    "sealed",
    "column",
    "sql_name",
    "sql_type",
    "pad",
    "store",
    "max_len",
    "index",
    "flatten",
];

/// What a part of a model does not say again.
const OF_MODEL: &[&str] = &[
    "column",
    "pad",
    "max_len",
    "index",
    "sql_type",
    "generated",
    "flatten",
];

/// What an embedded struct does not have.
const OF_TABLE: &[&str] = &[
    "row_id",
    "tenant",
    "subject",
    "extra",
    "index",
    "generated",
    "flatten",
];

///
pub(crate) const UNPADDED: &str = "a bool or an enumeration without padding shows by its length what it is: leave `pad` \
     away, or pad to one length by `pad = \"fixed(N)\"`";

///
pub(crate) const UNEVEN: &str = "the values of this bool or enumeration have more than one padded length, which shows \
     what they are: write `pad = \"fixed(N)\"`, N being 2 more than the longest name has bytes (3 for a bool)";

/// A column that is not PHI.
pub(crate) struct Plain<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) ty: &'a Type,
    pub(crate) sql_name: String,
    /// As written in `sql_type`.
    pub(crate) sql_type: Option<String>,
    /// The database fills it.
    pub(crate) generated: bool,
}

/// An embedded struct.
pub(crate) struct Flat<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) ty: &'a Type,
    /// What stands before the names of its columns.
    pub(crate) prefix: String,
}

/// A column of tokens.
pub(crate) struct Sealed<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) ty: &'a Type,
    pub(crate) shape: Shape<'a>,
    /// Logical name.
    pub(crate) column: String,
    pub(crate) sql_name: String,
    /// Most bytes of a value.
    pub(crate) max_len: Option<u32>,
    pub(crate) padding: Padding,
    /// `SealedText`, not `Sealed`.
    pub(crate) text: bool,
    pub(crate) kind: Kind,
    /// Where `pad` stands.
    pub(crate) pad: Option<Span>,
}

/// How values are padded.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    Block16,
    Fixed(u32),
    Padme(u32),
    None,
}

/// What the derive knows about the values of a field, by the name of their type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    /// Bytes, integers, UUIDs: what only the normalizer `exact` takes.
    Opaque,
    /// A date, an alias, a type that cannot be sealed: the compiler decides.
    Unknown,
}

/// What came of a field.
pub(super) struct Checked<'a> {
    pub(super) ident: &'a Ident,
    pub(super) ty: &'a Type,
    pub(super) sql_name: String,
    pub(super) marks: Marks,
    pub(super) field: Option<Field<'a>>,
    pub(super) index: Option<Index<'a>>,
}

/// Where the marks of what is bound into the tokens of a row stand.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    pub(super) row_id: Option<Span>,
    pub(super) tenant: Option<Span>,
    pub(super) subject: Option<Span>,
    pub(super) extra: Option<Span>,
}

impl Marks {
    fn read(entries: &Entries<'_, '_>) -> Self {
        let mark = |name| {
            let attr = entries.one(name).inspect(|attr| entries.flag(attr));
            attr.map(|attr| attr.span)
        };
        Self {
            row_id: mark("row_id"),
            tenant: mark("tenant"),
            subject: mark("subject"),
            extra: mark("extra"),
        }
    }

    /// The first mark, and what it makes of the field.
    fn first(&self) -> Option<(Span, &'static str)> {
        let named = [
            (self.row_id, "a row id"),
            (self.tenant, "a tenant"),
            (self.subject, "a subject"),
            (self.extra, "an `extra`"),
        ];
        named.into_iter().find_map(|(span, what)| Some((span?, what)))
    }
}

/// Whether a field is meant to be sealed.
pub(super) fn is_sealed(field: &InputField<'_>) -> bool {
    !matches!(field.shape, Shape::Other) || field.attrs.iter().any(|attr| attr.name == "sealed")
}

impl Sealed<'_> {
    /// Whether a value can be absent, as far as names tell: of an alias it is assumed.
    pub(crate) fn can_be_absent(&self) -> bool {
        match self.shape {
            Shape::Phi(value) => argument(value, "Option").is_some(),
            Shape::OptionPhi(_) | Shape::Hidden(_) | Shape::Other => true,
        }
    }
}

/// Checks one field.
pub(super) fn check<'a>(
    field: &'a InputField<'a>,
    role: Role<'_>,
    generics: &Generics,
    errors: &Errors,
) -> Checked<'a> {
    let entries = Entries::read(&field.attrs, KNOWN, &[], "a field", errors);
    let refused = refuse_of_role(field, role, errors);
    let marks = Marks::read(&entries);
    let mut checked = Checked {
        ident: field.ident,
        ty: field.ty,
        sql_name: sql_name(field, &entries, errors),
        marks,
        field: None,
        index: None,
    };
    if let Shape::Hidden(span) = field.shape {
        errors.at(
            span,
            "`Phi` inside another type: a sealed field is `Phi<T>` or `Option<Phi<T>>`, with a `T` that is sealed as \
             one value",
        );
        return checked;
    }
    if refused {
        return checked;
    }
    if let Some(flatten) = entries.one("flatten") {
        checked.field = flat(field, flatten, generics, errors).map(Field::Flat);
        return checked;
    }
    if let Some((span, what)) = marks.first() {
        refuse_bound(field, &entries, span, what, errors);
    }
    let place = marks.first().map(|(_, what)| what);
    if is_sealed(field) && place.is_none() {
        for name in ["sql_type", "generated"] {
            for attr in entries.all(name) {
                errors.at(
                    attr.span,
                    format_args!("`{name}` is for plain columns, not for sealed fields"),
                );
            }
        }
        let sealed = sealed(field, &entries, errors);
        refuse_sealed_in(&sealed, role, generics, errors);
        checked.index = entries
            .one("index")
            .and_then(|entry| index::single(entry, &sealed, errors));
        checked.field = Some(Field::Sealed(sealed));
    } else {
        refuse_sealed_only(&entries, place.unwrap_or("a plain column"), errors);
        let quoted = sql::identifier(&checked.sql_name) != checked.sql_name;
        refuse_quoted(quoted, field.ident, role, errors);
        checked.field = Some(Field::Plain(Plain {
            ident: field.ident,
            vis: field.vis,
            docs: field.docs.clone(),
            ty: field.ty,
            sql_name: checked.sql_name.clone(),
            sql_type: entries.text_of("sql_type").map(LitStr::value),
            generated: entries.has("generated"),
        }));
    }
    checked
}

/// Some attributes mean nothing in a part of a model, others in an embedded struct.
fn refuse_of_role(field: &InputField<'_>, role: Role<'_>, errors: &Errors) -> bool {
    let (refused, why) = match role {
        Role::Table => return false,
        Role::Part(_) => (OF_MODEL, "the model says that, and what it says holds"),
        Role::Embedded => (OF_TABLE, "the model that it is flattened into has these"),
    };
    let mut found = false;
    for attr in field
        .attrs
        .iter()
        .filter(|attr| refused.iter().any(|name| attr.name == name))
    {
        errors.at(
            attr.span,
            format_args!("`{}` is not for a field of {}: {why}", attr.name, role.name()),
        );
        found = true;
    }
    found
}

/// Rules of sealed fields that depend on the struct.
fn refuse_sealed_in(field: &Sealed<'_>, role: Role<'_>, generics: &Generics, errors: &Errors) {
    if matches!(field.shape, Shape::Other) && mentions(field.ty, generics) {
        errors.at(
            field.ty.span(),
            "an alias over a parameter: write `Phi<T>` or `Option<Phi<T>>` itself, so that the derive knows which it is",
        );
    }
    let quoted = sql::identifier(&field.sql_name) != field.sql_name;
    refuse_quoted(quoted, field.ident, role, errors);
}

/// Where a struct is flattened, its columns stand in lists without quotes.
fn refuse_quoted(quoted: bool, ident: &Ident, role: Role<'_>, errors: &Errors) {
    if matches!(role, Role::Embedded) && quoted {
        errors.at(
            ident.span(),
            "SQL takes this name between quotes alone: give the column of an embedded struct another one, by `sql_name`",
        );
    }
}

/// A field of an embedded struct, `#[phi(flatten)]` or `#[phi(flatten = "prefix_")]`.
fn flat<'a>(
    field: &'a InputField<'a>,
    flatten: &Attr,
    generics: &Generics,
    errors: &Errors,
) -> Option<Flat<'a>> {
    for attr in field.attrs.iter().filter(|attr| attr.name != "flatten") {
        errors.at(
            attr.span,
            format_args!(
                "`{}` is not for a flattened field: its columns are those of the embedded struct",
                attr.name
            ),
        );
    }
    let prefix = match &flatten.value {
        AttrValue::Flag => String::new(),
        AttrValue::Text(text) => prefix(text, errors),
        AttrValue::Number(_) | AttrValue::Path(_) | AttrValue::List(_) => {
            errors.at(flatten.span, "write `flatten` or `flatten = \"prefix_\"`");
            return None;
        }
    };
    if is_sealed(field) {
        errors.at(
            flatten.span,
            "a flattened field is a struct with `#[phi(embedded)]`, not PHI itself",
        );
    } else if argument(field.ty, "Option").is_some() {
        errors.at(
            flatten.span,
            "a flattened field cannot be optional: its columns are always there; make the fields of the embedded struct \
             optional",
        );
    } else if mentions(field.ty, generics) {
        errors.at(
            flatten.span,
            "the type of a flattened field names no parameter: the names of its columns are computed once",
        );
    }
    Some(Flat {
        ident: field.ident,
        vis: field.vis,
        docs: field.docs.clone(),
        ty: field.ty,
        prefix,
    })
}

/// What is bound is always there, readable, and known before the row is sealed.
fn refuse_bound(field: &InputField<'_>, entries: &Entries<'_, '_>, span: Span, what: &str, errors: &Errors) {
    let subject = what == "a subject";
    if is_sealed(field) {
        let instead = if subject {
            "; give the person an id that says nothing, a UUID or a `Uid`"
        } else {
            ""
        };
        errors.at(
            span,
            format_args!(
                "{what} cannot be PHI: it is stored readable and bound into every token of the row{instead}"
            ),
        );
    } else if argument(field.ty, "Option").is_some() {
        let instead = if subject {
            "a row without one would be bound to nobody; keep such rows in another table"
        } else {
            "make it before the row is sealed"
        };
        errors.at(span, format_args!("{what} cannot be optional: {instead}"));
    }
    if let Some(generated) = entries.one("generated") {
        errors.at(
            generated.span,
            format_args!(
                "{what} cannot be `generated`: it is bound into every token, so it is made before the row is sealed; use \
                 a column of its own as the row id, or take the next value of the sequence first"
            ),
        );
    }
}

/// Some attributes mean nothing on a plain column.
fn refuse_sealed_only(entries: &Entries<'_, '_>, place: &str, errors: &Errors) {
    for name in ["column", "pad", "store", "max_len", "index"] {
        for attr in entries.all(name) {
            errors.at(
                attr.span,
                format_args!("`{name}` is for sealed fields (`Phi<T>`, `Option<Phi<T>>`), not for {place}"),
            );
        }
    }
}

fn sealed<'a>(field: &InputField<'a>, entries: &Entries<'_, '_>, errors: &Errors) -> Sealed<'a> {
    entries.has("sealed");
    let value = match field.shape {
        Shape::Phi(value) | Shape::OptionPhi(value) => Some(value),
        Shape::Hidden(_) | Shape::Other => None,
    };
    let present = value.map(|value| argument(value, "Option").unwrap_or(value));
    if let Some(nested) = present.filter(|value| argument(value, "Option").is_some()) {
        errors.at(
            nested.span(),
            "`Option` in `Option`: only one kind of absence can be sealed",
        );
    }
    let kind = present.map_or(Kind::Unknown, Kind::of);
    let pad = entries.text_of("pad");
    let padding = pad.map_or(Padding::Block16, |text| padding(text, errors));
    let pad = pad.map(LitStr::span);
    if let (Some(span), Padding::None, Kind::Bool) = (pad, padding, kind) {
        errors.at(span, UNPADDED);
    }
    Sealed {
        ident: field.ident,
        vis: field.vis,
        docs: field.docs.clone(),
        ty: field.ty,
        shape: field.shape,
        column: column(field, entries, errors),
        sql_name: sql_name(field, entries, errors),
        max_len: max_len(entries, errors),
        padding,
        text: entries.text_of("store").is_some_and(|text| is_text(text, errors)),
        kind,
        pad,
    }
}

/// The name in SQL: as written, or the name of the field.
fn sql_name(field: &InputField<'_>, entries: &Entries<'_, '_>, errors: &Errors) -> String {
    match entries.text_of("sql_name") {
        Some(text) => sql_identifier(text, errors),
        None => field.ident.unraw().to_string(),
    }
}

/// Most bytes of a value, so that the column has a size.
fn max_len(entries: &Entries<'_, '_>, errors: &Errors) -> Option<u32> {
    let number = entries.number_of("max_len")?;
    let bytes = number
        .base10_parse()
        .ok()
        .filter(|bytes| (1..=MAX_VALUE).contains(bytes));
    if bytes.is_none() {
        errors.at(number.span(), "`max_len` is of 1 byte to 16 MiB");
    }
    bytes
}

/// The logical name: as written, or the name of the field.
fn column(field: &InputField<'_>, entries: &Entries<'_, '_>, errors: &Errors) -> String {
    if let Some(text) = entries.text_of("column") {
        return logical_name(text, "a column", errors).unwrap_or_default();
    }
    let name = field.ident.unraw().to_string();
    if !is_logical_name(&name) {
        errors.at(
            field.ident.span(),
            "no logical name: give one of A-Z a-z 0-9 _ . : - by `column = \"…\"`",
        );
    }
    name
}

fn padding(text: &LitStr, errors: &Errors) -> Padding {
    let written = text.value();
    let bytes = |kind: &str| {
        let number = written.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')')?;
        number.parse::<u32>().ok()
    };
    let padding = match (written.as_str(), bytes("fixed"), bytes("padme")) {
        ("none", _, _) => Padding::None,
        ("block(16)", _, _) => Padding::Block16,
        (_, Some(n), _) => Padding::Fixed(n),
        (_, _, Some(n)) => Padding::Padme(n),
        _ => {
            errors.at(
                text.span(),
                "unknown padding; known are `block(16)`, `fixed(N)`, `padme(N)` and `none`",
            );
            return Padding::Block16;
        }
    };
    if let Padding::Fixed(n) | Padding::Padme(n) = padding
        && !(2..=MAX_PADDED).contains(&n)
    {
        errors.at(
            text.span(),
            format_args!("a padding is of 2 to {MAX_PADDED} bytes (18 MiB)"),
        );
    }
    padding
}

fn is_text(text: &LitStr, errors: &Errors) -> bool {
    match text.value().as_str() {
        "text" => true,
        "binary" => false,
        _ => {
            errors.at(text.span(), "unknown storage; known are `binary` and `text`");
            false
        }
    }
}

impl Kind {
    fn of(value: &Type) -> Self {
        let name = last_segment(value).map(|segment| segment.ident.to_string());
        match name.as_deref() {
            Some("String") => Self::Text,
            Some("bool") => Self::Bool,
            Some("i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "Vec" | "Uuid") => {
                Self::Opaque
            }
            _ => Self::Unknown,
        }
    }
}
