//! The rules of one field.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{LitStr, Type, Visibility};

use super::Field;
use super::entry::{Entries, is_logical_name, logical_name};
use super::index::{self, Index};
use crate::ast::{InputField, Shape, argument, last_segment};
use crate::errors::Errors;

/// Longest frame of the format: 18 MiB.
const MAX_PADDED: u32 = 18 << 20;

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
    pub(crate) ty: &'a Type,
}

/// A column of tokens.
pub(crate) struct Sealed<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) ty: &'a Type,
    pub(crate) shape: Shape<'a>,
    /// Logical name.
    pub(crate) column: String,
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
    /// Where `row_id` stands.
    pub(super) row_id: Option<Span>,
    /// Where `subject` stands.
    pub(super) subject: Option<Span>,
    pub(super) field: Option<Field<'a>>,
    pub(super) index: Option<Index<'a>>,
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
pub(super) fn check<'a>(field: &'a InputField<'a>, errors: &Errors) -> Checked<'a> {
    let known = ["row_id", "subject", "sealed", "column", "pad", "store", "index"];
    let entries = Entries::read(&field.attrs, &known, &[], "a field", errors);
    let mark = |name| {
        let attr = entries.one(name).inspect(|attr| entries.flag(attr));
        attr.map(|attr| attr.span)
    };
    let (row_id, subject) = (mark("row_id"), mark("subject"));
    let mut checked = Checked {
        ident: field.ident,
        ty: field.ty,
        row_id,
        subject,
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
    if let Some(span) = row_id {
        refuse_row_id(field, span, errors);
    } else if let Some(span) = subject {
        refuse_subject(field, span, errors);
    }
    let place = row_id.map(|_| "a row id").or(subject.map(|_| "a subject"));
    if is_sealed(field) && place.is_none() {
        let sealed = sealed(field, &entries, errors);
        checked.index = entries
            .one("index")
            .and_then(|entry| index::single(entry, &sealed, errors));
        checked.field = Some(Field::Sealed(sealed));
    } else {
        refuse_sealed_only(&entries, place.unwrap_or("a plain column"), errors);
        checked.field = Some(Field::Plain(Plain {
            ident: field.ident,
            vis: field.vis,
            ty: field.ty,
        }));
    }
    checked
}

/// A row id is always there, and readable.
fn refuse_row_id(field: &InputField<'_>, span: Span, errors: &Errors) {
    if is_sealed(field) {
        errors.at(
            span,
            "a row id cannot be PHI: it is stored readable and bound into every token of the row",
        );
    } else if argument(field.ty, "Option").is_some() {
        errors.at(
            span,
            "a row id cannot be optional: make it before the row is sealed",
        );
    }
}

/// A subject is always there, and readable.
fn refuse_subject(field: &InputField<'_>, span: Span, errors: &Errors) {
    if is_sealed(field) {
        errors.at(
            span,
            "a subject cannot be PHI: it is stored readable and bound into every token of the row; give the person an \
             id that says nothing, a UUID or a `Uid`",
        );
    } else if argument(field.ty, "Option").is_some() {
        errors.at(
            span,
            "a subject cannot be optional: a row without one would be bound to nobody; keep such rows in another table",
        );
    }
}

/// Some attributes mean nothing on a plain column.
fn refuse_sealed_only(entries: &Entries<'_, '_>, place: &str, errors: &Errors) {
    for name in ["column", "pad", "store", "index"] {
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
        ty: field.ty,
        shape: field.shape,
        column: column(field, entries, errors),
        padding,
        text: entries.text_of("store").is_some_and(|text| is_text(text, errors)),
        kind,
        pad,
    }
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
