//! `PhiValue` is derived for newtypes and for enumerations.
use phield::{Phi, PhiValue};

// A newtype has one field.
#[derive(Debug, Clone, PhiValue)]
struct NewtypeOfTwo(String, i64);

#[derive(Debug, Clone, PhiValue)]
struct NewtypeOfNothing;

// An enumeration has no fields.
#[derive(Debug, Clone, PhiValue)]
enum EnumerationWithFields {
    Known,
    Other(String),
}

// An enumeration has variants.
#[derive(Debug, Clone, PhiValue)]
enum EnumerationOfNothing {}

// A union is neither.
#[derive(PhiValue)]
union Union {
    a: i64,
    b: u64,
}

// A newtype is not generic.
#[derive(Debug, Clone, PhiValue)]
struct NewtypeGeneric<T>(T);

// No two variants are sealed as the same.
#[derive(Debug, Clone, PhiValue)]
enum NameTwiceByAttribute {
    #[phi(name = "positive")]
    Positive,
    #[phi(name = "positive")]
    Reactive,
}

#[derive(Debug, Clone, PhiValue)]
enum NameTwiceByVariant {
    #[phi(name = "Reactive")]
    Positive,
    Reactive,
}

// A name is not empty.
#[derive(Debug, Clone, PhiValue)]
enum NameEmpty {
    #[phi(name = "")]
    Positive,
}

// Attributes are known, and stand where they mean something.
#[derive(Debug, Clone, PhiValue)]
#[phi(rename = "snake_case")]
enum AttributeOfEnumeration {
    Positive,
}

#[derive(Debug, Clone, PhiValue)]
enum AttributeOfVariant {
    #[phi(rename = "positive")]
    Positive,
}

#[derive(Debug, Clone, PhiValue)]
#[phi(name = "mrn")]
struct AttributeOfNewtype(String);

#[derive(Debug, Clone, PhiValue)]
struct AttributeOfField(#[phi(parse = "parse")] String);

// A function is named by its path.
#[derive(Debug, Clone, PhiValue)]
#[phi(parse = "|text| Some(Self(text))")]
struct ParseClosure(String);

// What could not be derived is still a value.
fn uses_it(_: Phi<NewtypeOfTwo>) {}

fn main() {}
