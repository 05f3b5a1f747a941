//! The entries of one `#[phi(…)]`: only names that are known, each once, each in its form.

use syn::{LitInt, LitStr};

use crate::attr::{Attr, AttrValue};
use crate::errors::Errors;

/// Longest logical name, in bytes (format §2).
const MAX_NAME: usize = 128;
/// Longest prefix of a flattened struct's columns, in bytes.
const MAX_PREFIX: usize = 32;
/// Longest name in SQL, in bytes, with the schema before it: PostgreSQL cuts a name at 63, MySQL refuses one above 64.
const MAX_SQL_NAME: usize = 127;

/// The entries of one place.
pub(crate) struct Entries<'a, 'e> {
    entries: &'a [Attr],
    errors: &'e Errors,
}

impl<'a, 'e> Entries<'a, 'e> {
    /// Reports unknown names, and names that stand twice and are not `repeatable`.
    pub(crate) fn read(
        entries: &'a [Attr],
        known: &[&str],
        repeatable: &[&str],
        place: &str,
        errors: &'e Errors,
    ) -> Self {
        for (i, entry) in entries.iter().enumerate() {
            let name = entry.name.to_string();
            if !known.contains(&name.as_str()) {
                let known = known.join("`, `");
                errors.at(
                    entry.span,
                    format_args!("unknown attribute `{name}` of {place}; known are `{known}`"),
                );
            } else if !repeatable.contains(&name.as_str())
                && entries.iter().take(i).any(|other| other.name == name)
            {
                errors.at(entry.span, format_args!("duplicate attribute `{name}`"));
            }
        }
        Self { entries, errors }
    }

    /// Every entry of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a Attr> {
        self.entries.iter().filter(move |entry| entry.name == name)
    }

    /// The entry of this name.
    pub(crate) fn one(&self, name: &str) -> Option<&'a Attr> {
        self.all(name).next()
    }

    /// Whether a flag is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.one(name).inspect(|attr| self.flag(attr)).is_some()
    }

    /// Reports a flag with a value.
    pub(crate) fn flag(&self, attr: &Attr) {
        if !matches!(attr.value, AttrValue::Flag) {
            self.errors
                .at(attr.span, format_args!("`{}` takes no value", attr.name));
        }
    }

    /// The text of an entry.
    pub(crate) fn text(&self, attr: &'a Attr) -> Option<&'a LitStr> {
        match &attr.value {
            AttrValue::Text(text) => Some(text),
            AttrValue::Flag | AttrValue::Number(_) | AttrValue::Path(_) | AttrValue::List(_) => {
                self.errors
                    .at(attr.span, format_args!("write `{} = \"…\"`", attr.name));
                None
            }
        }
    }

    /// The text of the entry of this name, if there is one.
    pub(crate) fn text_of(&self, name: &str) -> Option<&'a LitStr> {
        self.one(name).and_then(|attr| self.text(attr))
    }

    /// The number of the entry of this name, if there is one.
    pub(crate) fn number_of(&self, name: &str) -> Option<&'a LitInt> {
        let attr = self.one(name)?;
        let AttrValue::Number(number) = &attr.value else {
            self.errors.at(
                attr.span,
                format_args!("write `{name} = …`, a number without quotes"),
            );
            return None;
        };
        Some(number)
    }
}

/// A prefix of the columns of a flattened struct: of names that SQL takes without quotes.
pub(super) fn prefix(text: &LitStr, errors: &Errors) -> String {
    let prefix = text.value();
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = prefix.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !begins || prefix.len() > MAX_PREFIX || !prefix.bytes().all(known) {
        errors.at(
            text.span(),
            format_args!("a prefix is 1 to {MAX_PREFIX} bytes of a-z 0-9 _, and does not begin with a digit"),
        );
    }
    prefix
}

/// A name in SQL. It is written between quotes, so it holds none.
pub(super) fn sql_identifier(text: &LitStr, errors: &Errors) -> String {
    let name = text.value();
    if name.is_empty() || name.len() > MAX_SQL_NAME || name.contains(['"', '`', '\0']) {
        errors.at(
            text.span(),
            format_args!("a name in SQL is 1 to {MAX_SQL_NAME} bytes without quotes"),
        );
    }
    name
}

/// A logical name as the format wants it.
pub(super) fn logical_name(text: &LitStr, what: &str, errors: &Errors) -> Option<String> {
    let name = text.value();
    if !is_logical_name(&name) {
        errors.at(
            text.span(),
            format_args!("{what} name is 1 to {MAX_NAME} bytes of A-Z a-z 0-9 _ . : -"),
        );
        return None;
    }
    Some(name)
}

/// 1–128 bytes of `[A-Za-z0-9_.:-]`.
pub(super) fn is_logical_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(known)
}
