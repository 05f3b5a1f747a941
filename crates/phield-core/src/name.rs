//! Logical names (format §2): declared in source or configuration, never read from the database.

use std::borrow::Cow;
use std::fmt;

/// A name that is not 1–128 bytes of `[A-Za-z0-9_.:-]`. The text of the name is not repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: it must be 1 to 128 bytes of A-Z a-z 0-9 _ . : -")]
#[non_exhaustive]
pub struct InvalidName {
    /// Which kind of name was wrong.
    pub what: &'static str,
}

/// Longest logical name, in bytes.
const MAX_NAME: usize = 128;

pub(crate) const fn is_name(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > MAX_NAME {
        return false;
    }
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        if !(first.is_ascii_alphanumeric() || matches!(first, b'_' | b'.' | b':' | b'-')) {
            return false;
        }
        rest = tail;
    }
    true
}

/// One newtype per kind of name, so that two of them cannot change places.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            #[doc = concat!("A ", $what, " that is fixed in source, checked when the program is compiled.")]
            ///
            /// # Panics
            /// When the name is not 1–128 bytes of `[A-Za-z0-9_.:-]`; in a `const` that is a compile error.
            #[must_use]
            pub const fn from_static(name: &'static str) -> Self {
                assert!(is_name(name.as_bytes()), concat!("a ", $what, " is 1 to 128 bytes of A-Z a-z 0-9 _ . : -"));
                Self(Cow::Borrowed(name))
            }

            #[doc = concat!("A ", $what, " from configuration.")]
            ///
            /// # Errors
            /// When the name is not 1–128 bytes of `[A-Za-z0-9_.:-]`.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                if is_name(name.as_bytes()) { Ok(Self(Cow::Owned(name))) } else { Err(InvalidName { what: $what }) }
            }

            /// The name as text.
            #[must_use]
            pub const fn as_str(&self) -> &str {
                match &self.0 {
                    Cow::Borrowed(name) => name,
                    Cow::Owned(name) => name.as_str(),
                }
            }

            #[allow(dead_code, reason = "not every kind of name is encoded by itself")]
            pub(crate) fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The application that owns the data; from configuration, equal to the ring's.
    AppName, "app name"
}
name_type! {
    /// The key ring; one per environment, so that a development ring can never open production.
    RingName, "ring name"
}
name_type! {
    /// A tenant (clinic, customer) inside one application.
    TenantName, "tenant name"
}
name_type! {
    /// The logical name of a table.
    TableName, "table name"
}
name_type! {
    /// The logical name of a column.
    ColumnName, "column name"
}
name_type! {
    /// The logical name of a blind index.
    IndexName, "index name"
}
name_type! {
    /// What a key serves: a tenant or a group of tables, by an opaque name. It reaches the audit log of a KMS.
    ///
    /// # Security
    /// Never the name of a person.
    ScopeName, "scope name"
}
name_type! {
    /// A domain of UIDs: within what they link. The scope of its UID pepper, where it has one of its own.
    DomainName, "domain name"
}
name_type! {
    /// A kind of key provider: `local`, `aws-kms`, `pkcs11`, `split`, or a third party's.
    ProviderName, "provider name"
}
name_type! {
    /// What decrypted values are disclosed for: a purpose of use, by its code or by a name of your own.
    ///
    /// # Security
    /// It goes into the audit trail: never the name or a number of a person.
    Purpose, "purpose of use"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "patients", "A-Z_0.9:x", &"n".repeat(128)] {
            assert_eq!(TableName::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a+b", "ä", "a\0", "a/b", &"n".repeat(129)] {
            assert_eq!(TableName::new(bad), Err(InvalidName { what: "table name" }));
        }
    }
}
