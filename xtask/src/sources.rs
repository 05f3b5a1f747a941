//! Rules about the sources that no lint knows.

use std::fs;
use std::path::Path;

use crate::command::Failed;
use crate::root;

/// Randomness comes from the operating system for every call: no generator with a state of its own.
const GENERATORS: [&str; 6] = [
    "ThreadRng",
    "thread_rng",
    "StdRng",
    "SmallRng",
    "ChaCha20Rng",
    "rand::rng(",
];

/// Reads every source file of the crates.
pub(crate) fn check() -> Result<(), Failed> {
    let mut files = 0;
    check_folder(&root().join("crates"), &mut files)?;
    println!("{files} files use no random number generator but the operating system's");
    Ok(())
}

fn check_folder(folder: &Path, files: &mut usize) -> Result<(), Failed> {
    let unreadable = |error| Failed(format!("cannot read {}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            check_folder(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *files += 1;
            check_file(&path)?;
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failed(format!("cannot read {}: {error}", path.display())))?;
    for (number, line) in text.lines().enumerate() {
        if let Some(word) = GENERATORS.iter().find(|word| line.contains(**word)) {
            let place = format!("{}:{}", path.display(), number + 1);
            return Err(Failed(format!(
                "{place}: {word} keeps a state between calls; ask the operating system (R-6)"
            )));
        }
    }
    Ok(())
}
