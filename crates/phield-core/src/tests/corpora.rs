//! Replays the corpora of the fuzz harnesses: what a harness once found is a test from then on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fuzzing;

/// Longest file of a corpus, and most files: corpora are committed, and replayed with every test run.
const MAX_LEN: usize = 4096;
const MAX_FILES: usize = 64;

/// `fuzz/corpus` of the repository; `None` in the crate as it is packaged, which the corpora are not part of. Cargo
/// leaves `Cargo.toml.orig` there and nowhere else. In the repository a missing folder is a failure.
fn corpora() -> Option<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packaged = package.join("Cargo.toml.orig").exists();
    (!packaged).then(|| package.join("../../fuzz/corpus"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn replay(target: &str, property: fn(&[u8])) {
    let Some(folder) = corpora().map(|corpora| corpora.join(target)) else {
        return;
    };
    let files = names(&folder);
    assert!(!files.is_empty(), "{} is empty", folder.display());
    assert!(
        files.len() <= MAX_FILES,
        "{} files in {}",
        files.len(),
        folder.display()
    );
    for file in files {
        let input = fs::read(folder.join(&file)).unwrap();
        assert!(
            input.len() <= MAX_LEN,
            "{target}/{file} has {} bytes",
            input.len()
        );
        // Shown when the property panics: which input it was.
        println!("{target}/{file}");
        property(&input);
    }
}

macro_rules! targets {
    ($($target:ident),*) => {
        $(#[test] fn $target() { replay(stringify!($target), fuzzing::$target); })*

        /// Every harness has a corpus, a fuzz target and a test here, and there is no other.
        #[test]
        fn every_target_and_no_other() {
            let mut here = [$(stringify!($target)),*];
            here.sort_unstable();
            let Some(corpora) = corpora() else { return };
            assert_eq!(names(&corpora), here);
            let sources = names(&corpora.join("../fuzz_targets"));
            assert_eq!(sources, here.map(|name| format!("{name}.rs")));
        }
    };
}
targets!(
    token,
    text_form,
    open,
    identity,
    frame,
    key_record_and_manifest,
    local_key_file,
    normalizers
);
