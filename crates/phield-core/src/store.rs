//! The key store as a file: the stored manifest, replaced as a whole by compare-and-swap.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::{DurableFile, Faults};
use crate::error::RingError;
use crate::manifest::RawManifest;

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

    /// Makes sure that a power failure does not undo the last rename.
    pub(crate) fn sync(&self) {
        self.file.sync();
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
        RawManifest::parse(manifest).ok_or(RingError::Malformed("the new manifest"))?;
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
