//! What does not compile, with the message for it, and what does, in a crate with strict lints.
//!
//! One file for each rule of the derive: it fails when its rule is removed. `TRYBUILD=overwrite` rewrites the messages,
//! which list types of every database and traits of every dependency.
#![cfg(all(
    feature = "aws-kms",
    feature = "derive",
    feature = "chrono",
    feature = "serde",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "sqlx-sqlite"
))]

#[test]
fn compile_fail_and_pass() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass_*.rs");
    for entry in std::fs::read_dir("tests/ui").unwrap() {
        let path = entry.unwrap().path();
        let is_case = path.extension().is_some_and(|extension| extension == "rs");
        let passes = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("pass_"));
        if is_case && !passes {
            cases.compile_fail(path);
        }
    }
}
