//! The rules of blind indexes.

use proc_macro2::{Ident, Span};
use quote::format_ident;
use syn::ext::IdentExt as _;
use syn::{LitStr, Visibility};

use super::Field;
use super::algorithm::Algorithm;
use super::entry::{Entries, is_logical_name, logical_name, sql_identifier};
use super::field::{Kind, Sealed};
use crate::ast::Input;
use crate::attr::{Attr, AttrValue};
use crate::errors::Errors;

///
pub(crate) const LOW_ENTROPY: &str = "an index over bools and enumerations alone shows which rows are alike, and by \
     counting them what they are: write `leaks_equality` into it if that is acceptable";

/// One blind index.
pub(crate) struct Index<'a> {
    /// Logical name.
    pub(crate) name: String,
    /// What finders and columns are named after: the field, or the name of a compound index.
    pub(crate) base: String,
    /// Name of the column in SQL.
    pub(crate) sql_name: String,
    pub(crate) vis: &'a Visibility,
    pub(crate) parts: Vec<Part<'a>>,
    /// Whether the column is SQL NULL when a part is absent.
    pub(crate) optional: bool,
    pub(crate) options: Options,
    pub(crate) span: Span,
}

/// What fields and compound indexes have in common.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// How many bits of a value are kept.
    pub(crate) bits: u16,
    pub(crate) algorithm: Algorithm,
    ///
    pub(crate) leaks_equality: bool,
    /// No two rows may have the same value.
    pub(crate) unique: bool,
}

/// The attributes of every index.
const OPTIONS: [&str; 5] = ["bits", "algorithm", "leaks_equality", "unique", "sql_name"];

/// One indexed field.
pub(crate) struct Part<'a> {
    pub(crate) field: &'a Ident,
    /// Logical name of the field's column.
    pub(crate) column: String,
    pub(crate) normalizer: Normalizer,
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// How values are made alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normalizer {
    Exact,
    Digits,
    Ssn,
    Name,
    Date,
}

impl Index<'_> {
    /// Name of the column's field.
    pub(crate) fn field(&self) -> String {
        format!("{}_index", self.base)
    }

    pub(crate) fn is_compound(&self) -> bool {
        self.parts.len() > 1
    }

    pub(crate) fn takes(&self, field: &Ident) -> bool {
        self.parts.iter().any(|part| part.field == field)
    }

    /// Whether index values are waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.options.algorithm.is_awaited()
    }

    /// Whether index values cannot be had without waiting.
    pub(crate) fn is_device(&self) -> bool {
        self.options.algorithm.is_device()
    }
}

impl Options {
    fn read(entries: &Entries<'_, '_>, errors: &Errors) -> Option<Self> {
        let leaks_equality = entries.has("leaks_equality");
        let bits = entries.number_of("bits").map_or(Some(256), |number| {
            let bits = number.base10_parse().ok().filter(|bits| (1..=256).contains(bits));
            if bits.is_none() {
                errors.at(number.span(), "an index keeps 1 to 256 bits of its values");
            }
            bits
        });
        let algorithm = entries.text_of("algorithm");
        let algorithm = algorithm.map_or(Some(Algorithm::HmacSha256), |text| Algorithm::parse(text, errors));
        let unique = entries.one("unique").inspect(|attr| entries.flag(attr));
        if let (Some(unique), Some(1..256)) = (unique, bits) {
            errors.at(
                unique.span,
                "a truncated index cannot be unique: different values share index values",
            );
        }
        Some(Self {
            bits: bits?,
            algorithm: algorithm?,
            leaks_equality,
            unique: unique.is_some(),
        })
    }
}

/// `#[phi(index(…))]` of a field.
pub(super) fn single<'a>(entry: &'a Attr, field: &Sealed<'a>, errors: &Errors) -> Option<Index<'a>> {
    let attrs: &[Attr] = match &entry.value {
        AttrValue::List(list) => list,
        AttrValue::Flag => &[],
        AttrValue::Text(_) | AttrValue::Number(_) | AttrValue::Path(_) => {
            errors.at(entry.span, "write `index` or `index(…)`");
            return None;
        }
    };
    let entries = Entries::read(
        attrs,
        &[["normalize", "name"].as_slice(), &OPTIONS].concat(),
        &[],
        "an index",
        errors,
    );
    let normalize = entries.text_of("normalize");
    let normalizer = normalize.map_or(Some(Normalizer::Exact), |text| Normalizer::parse(text, errors))?;
    let base = field.ident.unraw().to_string();
    let name = match entries.text_of("name") {
        Some(text) => logical_name(text, "an index", errors)?,
        None => format!("{}_index", field.column),
    };
    let options = Options::read(&entries, errors);
    let part = part(
        field,
        normalizer,
        normalize.map_or(entry.span, LitStr::span),
        errors,
    );
    let options = options?;
    refuse_low_entropy(&[field], options.leaks_equality, entry.span, errors);
    if !is_logical_name(&name) && is_logical_name(&field.column) {
        errors.at(
            entry.span,
            "the column's name is too long for an index name: give one by `name = \"…\"`",
        );
    }
    let optional = field.can_be_absent();
    Some(Index {
        name,
        sql_name: sql_name(&entries, &base, errors),
        base,
        vis: field.vis,
        parts: vec![part],
        optional,
        options,
        span: entry.span,
    })
}

/// `#[phi(index(name = "…", on(…)))]` of a struct.
pub(super) fn compound<'a>(
    entry: &'a Attr,
    input: &'a Input<'a>,
    fields: &[Field<'a>],
    errors: &Errors,
) -> Option<Index<'a>> {
    let form = "write `index(name = \"…\", on(field = \"normalizer\", …))`";
    let AttrValue::List(attrs) = &entry.value else {
        errors.at(entry.span, form);
        return None;
    };
    let entries = Entries::read(
        attrs,
        &[["name", "on"].as_slice(), &OPTIONS].concat(),
        &[],
        "a compound index",
        errors,
    );
    let (Some(name), Some(on)) = (entries.one("name"), entries.one("on")) else {
        errors.at(entry.span, form);
        return None;
    };
    let AttrValue::List(on) = &on.value else {
        errors.at(on.span, form);
        return None;
    };
    let name = entries.text(name).and_then(|text| compound_name(text, errors));
    let (listed, options) = (
        refuse_part_list(on, entry, errors),
        Options::read(&entries, errors),
    );
    let parts: Option<Vec<_>> = on
        .iter()
        .map(|part| compound_part(part, &entries, input, fields, errors))
        .collect();
    listed?;
    let (name, (sealed, parts)) = (name?, parts?.into_iter().unzip::<_, _, Vec<_>, Vec<_>>());
    let options = options?;
    refuse_low_entropy(&sealed, options.leaks_equality, entry.span, errors);
    let vis = sealed.first()?.vis;
    let optional = sealed.iter().any(|field| field.can_be_absent());
    Some(Index {
        sql_name: sql_name(&entries, &name, errors),
        base: name.clone(),
        name,
        vis,
        parts,
        optional,
        options,
        span: entry.span,
    })
}

/// The name of the column in SQL: as written, or the one of its field.
fn sql_name(entries: &Entries<'_, '_>, base: &str, errors: &Errors) -> String {
    match entries.text_of("sql_name") {
        Some(text) => sql_identifier(text, errors),
        None => format!("{base}_index"),
    }
}

/// The name of a compound index becomes a part of method names.
fn compound_name(text: &LitStr, errors: &Errors) -> Option<String> {
    let name = text.value();
    let is_ident = syn::parse_str::<Ident>(&format!("_{name}")).is_ok() && !name.is_empty();
    if !is_ident || !is_logical_name(&name) {
        errors.at(
            text.span(),
            "the name of a compound index is of a-z 0-9 _: methods are named after it",
        );
        return None;
    }
    Some(name)
}

/// A compound index is over two different fields or more.
fn refuse_part_list(parts: &[Attr], entry: &Attr, errors: &Errors) -> Option<()> {
    let twice = |(i, part): &(usize, &Attr)| parts.iter().take(*i).any(|other| other.name == part.name);
    if let Some((_, part)) = parts.iter().enumerate().find(twice) {
        errors.at(
            part.span,
            format_args!("`{}` stands twice in one index", part.name),
        );
        return None;
    }
    if parts.len() < 2 {
        errors.at(
            entry.span,
            "a compound index is over two fields or more; one field is indexed by `index(…)` on it",
        );
        return None;
    }
    Some(())
}

/// One `field = "normalizer"` of a compound index.
fn compound_part<'f, 'a>(
    attr: &'a Attr,
    entries: &Entries<'a, '_>,
    input: &'a Input<'a>,
    fields: &'f [Field<'a>],
    errors: &Errors,
) -> Option<(&'f Sealed<'a>, Part<'a>)> {
    let sealed = fields.iter().find_map(|field| match field {
        Field::Sealed(sealed) if sealed.ident == &attr.name => Some(sealed),
        Field::Sealed(_) | Field::Plain(_) | Field::Flat(_) => None,
    });
    let text = entries.text(attr)?;
    let normalizer = Normalizer::parse(text, errors)?;
    if sealed.is_none() {
        let known = input.fields.iter().any(|field| field.ident == &attr.name);
        let what = if known {
            "is not a sealed field"
        } else {
            "is not a field of this struct"
        };
        errors.at(attr.span, format_args!("`{}` {what}", attr.name));
    }
    sealed.map(|field| (field, part(field, normalizer, text.span(), errors)))
}

/// A normalizer takes the values of its field, as far as names tell.
fn part<'a>(field: &Sealed<'a>, normalizer: Normalizer, span: Span, errors: &Errors) -> Part<'a> {
    let fits = matches!(
        (normalizer, field.kind),
        (Normalizer::Exact, _) | (_, Kind::Text | Kind::Unknown)
    );
    if !fits {
        let takes = if normalizer == Normalizer::Date {
            "text and dates"
        } else {
            "text"
        };
        errors.at(
            span,
            format_args!("the normalizer `{}` takes {takes} only", normalizer.as_str()),
        );
    }
    Part {
        field: field.ident,
        column: field.column.clone(),
        normalizer,
        kind: field.kind,
        span,
    }
}

/// an index that shows a column of two values says so.
fn refuse_low_entropy(fields: &[&Sealed<'_>], leaks_equality: bool, span: Span, errors: &Errors) {
    if !leaks_equality && !fields.is_empty() && fields.iter().all(|field| field.kind == Kind::Bool) {
        errors.at(span, LOW_ENTROPY);
    }
}

impl Normalizer {
    const ALL: [Self; 5] = [Self::Exact, Self::Digits, Self::Ssn, Self::Name, Self::Date];

    fn parse(text: &LitStr, errors: &Errors) -> Option<Self> {
        let name = text.value();
        let found = Self::ALL
            .into_iter()
            .find(|normalizer| normalizer.as_str() == name);
        if found.is_none() {
            errors.at(
                text.span(),
                "unknown normalizer; known are `exact`, `digits`, `ssn`, `name` and `date`",
            );
        }
        found
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Digits => "digits",
            Self::Ssn => "ssn",
            Self::Name => "name",
            Self::Date => "date",
        }
    }

    /// The variant of `phield::Normalizer`.
    pub(crate) fn variant(self) -> Ident {
        let name = match self {
            Self::Exact => "Exact",
            Self::Digits => "Digits",
            Self::Ssn => "Ssn",
            Self::Name => "Name",
            Self::Date => "Date",
        };
        format_ident!("{name}")
    }
}
