//! The key store: where the stored manifest is, replaced as a whole by compare-and-swap. Here as a file; `phield-sqlx`
//! has it as a table of a database.

use std::fmt;
use std::future::{Future, ready};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use crate::durable::{DurableFile, Faults};
use crate::error::RingError;
use crate::manifest::{Manifest, RawManifest};

/// What key stores and epoch witnesses answer with: a boxed future, so that they can be chosen at run time.
pub type RingFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, RingError>> + Send + 'a>>;

/// Where the manifest of a ring is stored, as one blob.
///
/// Nothing in it is secret, and nothing in it is trusted: every reader verifies the manifest under the pinned ring key.
///
/// # Security
/// Services that only seal and open need to read it, and nothing else: give them read-only access.
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// The place in words, for messages. No credentials.
    fn place(&self) -> String;

    /// The stored manifest, not verified; `None` when there is none yet. Read from the primary of a database.
    fn read(&self) -> RingFuture<'_, Option<Vec<u8>>>;

    /// Replaces the stored manifest if it is still `previous`, durably; `None`: if there is none yet.
    ///
    /// The answer is [`RingError::Conflict`] when something else is stored, and [`RingError::Store`] when the store is
    /// out of reach. What is no manifest is refused ([`check_manifest`](Self::check_manifest)).
    fn replace<'a>(&'a self, previous: Option<&'a [u8]>, manifest: &'a [u8]) -> RingFuture<'a, ()>;

    /// Makes the place ready for its first ring, where there is something to make: a table.
    fn create(&self) -> RingFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Makes sure that a power failure does not undo what was read. Best effort.
    fn settle(&self) {}

    /// Refuses what has not the structure of a manifest.
    ///
    /// # Errors
    /// [`RingError::Malformed`].
    fn check_manifest(&self, manifest: &[u8]) -> Result<(), RingError> {
        Manifest::check_structure(manifest)
    }
}

/// Largest manifest that is read.
const MAX_MANIFEST: u64 = 16 << 20;

/// A key store in one file.
///
/// Written atomically and synced, by one writer at a time. Only whole manifests are ever stored: a ring without one
/// never reaches the disk.
#[derive(Debug, Clone)]
pub struct FileStore {
    file: DurableFile,
}

impl FileStore {
    /// The key store at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: DurableFile::new(path),
        }
    }

    /// Stops writers at chosen steps; for the testkit.
    #[doc(hidden)]
    #[must_use]
    pub fn with_faults(self, faults: Arc<dyn Faults>) -> Self {
        Self {
            file: self.file.with_faults(faults),
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The stored manifest, not verified; `None` when there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>, RingError> {
        Ok(self.file.read(MAX_MANIFEST, false)?)
    }

    /// Replaces the stored manifest if it is still `previous`; `None`: if there is none yet, or this very one.
    ///
    /// # Errors
    /// [`RingError::Conflict`] when somebody else wrote first; `Malformed` for what is no manifest; `File` when the
    /// file cannot be written. Then the previous manifest still stands, unless the error says that the new one is in
    /// place but was not confirmed: read the ring again before changing it.
    pub fn replace(&self, previous: Option<&[u8]>, manifest: &[u8]) -> Result<(), RingError> {
        Manifest::check_structure(manifest)?;
        let lock = self.file.lock()?;
        let current = self.read()?;
        // A first write that failed after its rename is made whole by writing it again. A later one is not: two writers
        // who make the same change to the same manifest make the same bytes, and one of them must be told (I-2).
        let again = previous.is_none() && current.as_deref() == Some(manifest);
        if current.as_deref() != previous && !again {
            return Err(RingError::Conflict);
        }
        Ok(lock.replace(manifest, |written| RawManifest::parse(written).is_some())?)
    }
}

impl KeyStore for FileStore {
    fn place(&self) -> String {
        self.path().display().to_string()
    }

    fn read(&self) -> RingFuture<'_, Option<Vec<u8>>> {
        Box::pin(ready(Self::read(self)))
    }

    fn replace<'a>(&'a self, previous: Option<&'a [u8]>, manifest: &'a [u8]) -> RingFuture<'a, ()> {
        Box::pin(ready(Self::replace(self, previous, manifest)))
    }

    /// The last rename, too.
    fn settle(&self) {
        self.file.sync();
    }
}
