//! PHI is not formatted, serialised, ordered, hashed or bound to a query.
use phield::Phi;

fn format(name: &Phi<String>) {
    println!("{name}");
}

fn serialize(name: &Phi<String>) {
    let _ = serde_json::to_string(name);
}

fn order(names: &[Phi<String>]) {
    let _ = names.iter().max();
}

fn hash(name: Phi<String>) {
    let _ = std::collections::HashSet::from([name]);
}

fn bind(name: Phi<String>) {
    let _ = sqlx::query::<sqlx::Sqlite>("SELECT ?").bind(name);
}

fn bind_optional(name: &Option<Phi<String>>) {
    let _ = sqlx::query::<sqlx::Sqlite>("SELECT ?").bind(name);
}

fn main() {}
