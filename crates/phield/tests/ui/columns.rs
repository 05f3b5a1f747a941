//! Sealed columns have no equality and no order: two tokens of one value differ. Index values have no order.
use phield::{BlindIndex, Sealed, SealedText};

fn compare(a: &Sealed<String>, b: &Sealed<String>) -> bool {
    a == b
}

fn order(a: &Sealed<String>, b: &Sealed<String>) -> bool {
    a < b
}

fn compare_text(a: &SealedText<String>, b: &SealedText<String>) -> bool {
    a == b
}

fn order_text(a: &SealedText<String>, b: &SealedText<String>) -> bool {
    a < b
}

fn order_index(a: BlindIndex, b: BlindIndex) -> bool {
    a < b
}

fn main() {}
