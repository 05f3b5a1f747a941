//! `Erase` is derived for structs and enums of what can be erased.
use phield::Erase;

// Of a union nobody knows which field is there.
#[derive(Erase)]
union Union {
    a: i64,
    b: u64,
}

// Every field can be erased.
#[derive(Erase)]
struct Field {
    name: String,
    since: std::time::Instant,
}

#[derive(Erase)]
enum FieldOfVariant {
    A,
    B(&'static str),
}

// A type parameter can be erased.
#[derive(Erase)]
struct Generic<T>(T);

fn erase(mut value: Generic<std::time::Instant>) {
    value.erase();
}

fn main() {}
