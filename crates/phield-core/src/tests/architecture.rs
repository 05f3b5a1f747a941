//! The file list is the architecture: who may call the KDF, the AEADs, and index into bytes.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of the crate outside its tests, with the text before its test modules.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.starts_with("fuzzing") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]\n").next().unwrap().to_owned();
                files.push((name, code));
            }
        }
    }
    assert!(files.len() > 40);
    files
}

/// The files with a line of code (not a comment) that has one of these words.
fn files_with(words: &[&str]) -> Vec<String> {
    let has = |code: &str| {
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    let mut found: Vec<_> = sources()
        .into_iter()
        .filter(|(_, code)| has(code))
        .map(|(name, _)| name)
        .collect();
    found.sort();
    found
}

#[test]
fn only_the_schedule_calls_the_kdf() {
    let calls = [".derive(\"", ".derive_into(", "kdf::message(", "prf().derive"];
    // Where it is written, it calls itself.
    assert_eq!(files_with(&calls), ["kdf.rs", "schedule.rs"]);
    // Elsewhere a text `phield.v1.…` is the first element of an encoded context, and no label:
    // LP("phield.v1.ictx", …), LP("phield.v1.manifest", …).
    let contexts = [
        "blind_index.rs",
        "context.rs",
        "manifest.rs",
        "record.rs",
        "schedule.rs",
        "subject_key.rs",
        "uid.rs",
    ];
    assert_eq!(files_with(&["\"phield.v1."]), contexts);
}

#[test]
fn only_the_cipher_calls_the_aeads() {
    let aeads = ["aes_gcm", "chacha20poly1305::", "aws_lc_rs::aead"];
    assert_eq!(files_with(&aeads), ["cipher.rs"]);
}

#[test]
fn only_the_token_indexes_into_bytes() {
    // `clippy::indexing_slicing` is on for the crate; this is where it is allowed.
    assert_eq!(files_with(&["clippy::indexing_slicing"]), ["lib.rs", "token.rs"]);
    // And positions inside a token are named there alone.
    assert_eq!(
        files_with(&["HEAD_LEN", "NONCE_AT", "COMMITMENT_AT"]),
        ["token.rs"]
    );
}

#[test]
fn the_schedule_is_read_in_a_minute() {
    let sources = sources();
    let (_, schedule) = sources.iter().find(|(name, _)| name == "schedule.rs").unwrap();
    assert!(
        schedule.lines().count() <= 100,
        "{} lines",
        schedule.lines().count()
    );
    // Every label of the page, once, and that of coverage reports.
    let page = [
        "salt",
        "row",
        "subject",
        "index",
        "index-salt",
        "index-device",
        "uid",
        "kcv",
        "wrap",
        "manifest",
        "coverage",
        "local-commit",
        "local",
    ];
    let code: String = schedule.lines().filter(|line| !line.starts_with("//")).collect();
    for label in page {
        let quoted = format!("\"phield.v1.{label}\"");
        assert_eq!(code.matches(&quoted).count(), 1, "{label}");
    }
    assert_eq!(code.matches("\"phield.v1.").count(), page.len());
}

/// Each file is one noun, short enough to be read at once.
#[test]
fn files_are_short() {
    for (name, code) in sources() {
        assert!(
            code.lines().count() <= 600,
            "{name}: {} lines",
            code.lines().count()
        );
    }
}
