//! The epoch witness (format §8.2): the highest epoch that was seen, kept where a writer of the key store cannot write.
//! It detects that an old manifest was put back.

use std::fmt;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::durable::{DurableFile, Faults};
use crate::error::RingError;
use crate::name::RingName;
use crate::ring::VerifiedRing;
use crate::store::RingFuture;

/// Largest witness file that is read.
const MAX_FILE: u64 = 1024;

/// Knows the highest epoch of a ring that any process with the same witness has seen.
///
/// # Security
/// Whoever writes the key store must not be able to write it.
pub trait EpochWitness: Send + Sync + fmt::Debug {
    /// The place in words, for messages. No credentials.
    fn place(&self) -> String;

    /// Refuses an epoch below the highest known and an equal epoch with another MAC ([`RingError::Stale`]); remembers a
    /// higher one, durably and atomically. A witness that cannot be read is an error, never taken as absent.
    fn check<'a>(&'a self, ring: &'a RingName, epoch: u64, mac: &'a [u8; 32]) -> RingFuture<'a, ()>;

    /// As [`check`](Self::check), and remembers nothing.
    fn compare<'a>(&'a self, ring: &'a RingName, epoch: u64, mac: &'a [u8; 32]) -> RingFuture<'a, ()>;
}

/// A witness in one file, one line: `ring epoch mac`.
///
/// # Security
/// Put it on a disk that whoever writes the key store cannot write.
#[derive(Debug, Clone)]
pub struct FileWitness {
    file: DurableFile,
}

impl FileWitness {
    /// The witness at this path.
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

    /// As [`check`](EpochWitness::check), and remembers nothing: the highest epoch that is known, or `None` when there is no
    /// such file yet.
    ///
    /// # Errors
    /// [`RingError::Stale`]; when the file cannot be read, is malformed, or of another ring.
    pub fn peek(&self, ring: &VerifiedRing) -> Result<Option<u64>, RingError> {
        let (name, epoch) = (&ring.manifest().ring, ring.manifest().epoch);
        self.known(name, epoch, ring.mac())
    }

    /// The highest epoch that is known, if it lets this one pass.
    fn known(&self, ring: &RingName, epoch: u64, mac: &[u8; 32]) -> Result<Option<u64>, RingError> {
        let Some(known) = self.file.read(MAX_FILE, false)? else {
            return Ok(None);
        };
        let known = Known::parse(&known).ok_or(RingError::Malformed("the epoch witness"))?;
        if known.ring != ring.as_str() {
            return Err(RingError::Authentication);
        }
        if epoch < known.epoch || (epoch == known.epoch && known.mac != *mac) {
            return Err(RingError::Stale {
                epoch,
                known: known.epoch,
            });
        }
        Ok(Some(known.epoch))
    }

    fn check_now(&self, ring: &RingName, epoch: u64, mac: &[u8; 32]) -> Result<(), RingError> {
        let lock = self.file.lock()?;
        if self.known(ring, epoch, mac)? == Some(epoch) {
            return Ok(());
        }
        let line = format!("{ring} {epoch} {}\n", HEXLOWER.encode(mac));
        Ok(lock.replace(line.as_bytes(), |_| true)?)
    }
}

impl EpochWitness for FileWitness {
    fn place(&self) -> String {
        self.file.path().display().to_string()
    }

    fn check<'a>(&'a self, ring: &'a RingName, epoch: u64, mac: &'a [u8; 32]) -> RingFuture<'a, ()> {
        Box::pin(ready(self.check_now(ring, epoch, mac)))
    }

    fn compare<'a>(&'a self, ring: &'a RingName, epoch: u64, mac: &'a [u8; 32]) -> RingFuture<'a, ()> {
        Box::pin(ready(self.known(ring, epoch, mac).map(drop)))
    }
}

/// What a witness file says.
struct Known<'a> {
    ring: &'a str,
    epoch: u64,
    mac: [u8; 32],
}

impl<'a> Known<'a> {
    fn parse(file: &'a [u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(file).ok()?.strip_suffix('\n')?.split(' ');
        let (ring, epoch, mac) = (words.next()?, words.next()?, words.next()?);
        let mac = HEXLOWER.decode(mac.as_bytes()).ok()?.try_into().ok()?;
        words.next().is_none().then_some(Self {
            ring,
            epoch: epoch.parse().ok()?,
            mac,
        })
    }
}
