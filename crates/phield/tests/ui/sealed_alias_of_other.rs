//! `sealed` is for aliases of `Phi<T>` and `Option<Phi<T>>`.
use phield::EncryptedPhi;

type Age = i64;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Model {
    #[phi(row_id)]
    id: i64,
    #[phi(sealed)]
    age: Age,
}

fn main() {}
