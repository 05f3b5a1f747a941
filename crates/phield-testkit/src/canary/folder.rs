//! The scanner over folders.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Hit, Scanner};

/// A value was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileHit {
    /// The file.
    pub path: PathBuf,
    /// Where in it, and which value.
    pub hit: Hit,
}

/// What a scan of a folder read and found.
#[derive(Debug, Default)]
#[non_exhaustive]
#[must_use = "a scan says nothing before its result is looked at"]
pub struct FolderScan {
    /// How many files were read.
    pub files: u64,
    /// How many symbolic links, sockets, pipes and devices were passed over.
    pub passed_over: u64,
    /// Every place where a value stands.
    pub hits: Vec<FileHit>,
    /// What could not be read, and why: nothing is known about it.
    pub unread: Vec<(PathBuf, io::Error)>,
}

impl FolderScan {
    /// Whether there was something to read, all of it was read, and nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.files > 0 && self.unread.is_empty() && self.hits.is_empty()
    }
}

impl Scanner {
    /// Every place where a value stands in the files of a folder and of the folders in it, or in one file.
    ///
    /// Symbolic links in the folder are not followed; one that is given as `path` is. File names are not searched.
    pub fn scan_folder(&self, path: impl AsRef<Path>) -> FolderScan {
        let mut scan = FolderScan::default();
        for entry in WalkDir::new(path).sort_by_file_name() {
            match entry {
                // Of the root, what a link leads to.
                Ok(entry)
                    if entry.file_type().is_file() || (entry.depth() == 0 && entry.path().is_file()) =>
                {
                    self.add_file(entry.into_path(), &mut scan);
                }
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(_) => scan.passed_over += 1,
                Err(error) => {
                    let path = error.path().unwrap_or(Path::new("")).to_owned();
                    scan.unread.push((path, error.into()));
                }
            }
        }
        scan
    }

    fn add_file(&self, path: PathBuf, scan: &mut FolderScan) {
        match self.scan_file(&path) {
            Ok(hits) => {
                scan.files += 1;
                let hits = hits.into_iter().map(|hit| FileHit {
                    path: path.clone(),
                    hit,
                });
                scan.hits.extend(hits);
            }
            Err(error) => scan.unread.push((path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn scanner() -> Scanner {
        Scanner::new(["Lovelace", "999-12-3456"]).unwrap()
    }

    #[test]
    fn every_file_is_read_and_links_are_not_followed() {
        let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (root, deep) = (folder.path(), folder.path().join("a/b"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(root.join("clean"), "nothing").unwrap();
        fs::write(deep.join(".hidden"), "ssn=999-12-3456").unwrap();
        fs::write(elsewhere.path().join("secret"), "Lovelace").unwrap();
        symlink(elsewhere.path(), root.join("folder")).unwrap();
        symlink(elsewhere.path().join("secret"), root.join("file")).unwrap();
        symlink(root, deep.join("loop")).unwrap();

        let scan = scanner().scan_folder(root);
        assert_eq!((scan.files, scan.passed_over, scan.unread.len()), (2, 3, 0));
        assert!(!scan.is_clean());
        let [found] = scan.hits.as_slice() else {
            panic!("{:?}", scan.hits)
        };
        assert_eq!(
            (found.path.as_path(), found.hit.needle, found.hit.offset),
            (deep.join(".hidden").as_path(), 1, 4)
        );

        // What was asked for by name is read, through a link too.
        assert_eq!(scanner().scan_folder(root.join("folder")).hits.len(), 1);
        assert_eq!(scanner().scan_folder(root.join("file")).hits.len(), 1);
        assert!(scanner().scan_folder(root.join("clean")).is_clean());
    }

    #[test]
    fn what_was_not_read_is_not_clean() {
        let folder = TempDir::new().unwrap();
        assert!(
            !scanner().scan_folder(folder.path()).is_clean(),
            "nothing was read"
        );
        let missing = scanner().scan_folder(folder.path().join("missing"));
        assert_eq!((missing.files, missing.unread.len()), (0, 1));
        assert!(!missing.is_clean());
    }
}
