//! Files that survive a crash at any instruction: written aside, synced, renamed, the directory synced; one writer at
//! a time. The same path is taken by the key file, the key store and the epoch witness.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::wipe::Wiped;

/// How long a writer waits for another one.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What happens during a durable write, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The lock file is opened and locked.
    Lock,
    /// A temporary file left by a killed writer is removed.
    RemoveStale,
    /// The temporary file is created.
    Create,
    /// The new content is written to it.
    Write,
    /// The temporary file is synced.
    Sync,
    /// The previous version is kept as `.bak`.
    KeepPrevious,
    /// The temporary file takes the name of the real one.
    Rename,
    /// The directory is synced.
    SyncDirectory,
    /// The new version is read back and compared.
    ReadBack,
    /// The previous version is removed.
    RemovePrevious,
    /// After a failure: the temporary file is removed.
    CleanUp,
}

/// Called before every step of a durable write: the testkit stops writers there.
pub trait Faults: Send + Sync + std::fmt::Debug {
    /// An error here is taken as the step's own.
    ///
    /// # Errors
    /// What the step is to fail with.
    fn before(&self, step: Step) -> io::Result<()>;
}

/// No faults.
#[derive(Debug)]
struct NoFaults;

impl Faults for NoFaults {
    fn before(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}

/// A file operation failed. Paths are configuration, never PHI.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
#[non_exhaustive]
pub struct FileError {
    /// What was being done.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// One file that is replaced as a whole.
#[derive(Debug, Clone)]
pub(crate) struct DurableFile {
    path: PathBuf,
    faults: Arc<dyn Faults>,
}

/// The right to replace a file, held until dropped.
#[derive(Debug)]
pub(crate) struct WriteLock<'a> {
    file: &'a DurableFile,
    _lock: File,
}

impl DurableFile {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            faults: Arc::new(NoFaults),
        }
    }

    pub(crate) fn with_faults(mut self, faults: Arc<dyn Faults>) -> Self {
        self.faults = faults;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The content, or `None` when there is no such file. Symlinks and more than `max` bytes are refused; with
    /// `private`, so are foreign owners and access by group or others.
    pub(crate) fn read(&self, max: u64, private: bool) -> Result<Option<Vec<u8>>, FileError> {
        let fail = |source| FileError {
            action: "cannot read",
            path: self.path.clone(),
            source,
        };
        match read_checked(&self.path, max, private) {
            Ok(bytes) => Ok(Some(bytes.into_inner())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Whether there is anything at all by this name.
    pub(crate) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Syncs the directory, best effort.
    pub(crate) fn sync(&self) {
        let _ = sync_directory(&self.path);
    }

    /// Waits for other writers, in this process or another, and keeps them out.
    pub(crate) fn lock(&self) -> Result<WriteLock<'_>, FileError> {
        let path = self.sibling(".lock");
        let lock = || -> io::Result<File> {
            self.faults.before(Step::Lock)?;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(flags(OFlags::NOFOLLOW))
                .open(&path)?;
            let deadline = Instant::now() + LOCK_WAIT;
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(file),
                    Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    Err(TryLockError::WouldBlock) => {
                        return Err(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "another process is writing",
                        ));
                    }
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        };
        match lock() {
            Ok(lock) => Ok(WriteLock {
                file: self,
                _lock: lock,
            }),
            Err(source) => Err(FileError {
                action: "cannot lock",
                path,
                source,
            }),
        }
    }

    fn sibling(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }
}

impl WriteLock<'_> {
    /// Replaces the content. Until the rename, readers see the previous version; from it on, the new one. The previous
    /// version stays as `.bak` until `verify` has accepted what was read back.
    pub(crate) fn replace(
        &self,
        content: &[u8],
        verify: impl FnOnce(&[u8]) -> bool,
    ) -> Result<(), FileError> {
        let fail = |action, source| FileError {
            action,
            path: self.file.path.clone(),
            source,
        };
        self.put_in_place(content).map_err(|source| {
            // Best effort: the next writer removes what is left.
            if self.step(Step::CleanUp).is_ok() {
                let _ = fs::remove_file(self.temporary());
            }
            fail("cannot write", source)
        })?;
        self.confirm(content, verify).map_err(|source| {
            fail(
                "the new version is in place, but was not confirmed; read it again before changing it:",
                source,
            )
        })
    }

    /// Everything up to the rename.
    fn put_in_place(&self, content: &[u8]) -> io::Result<()> {
        let (path, temporary, previous) = (&self.file.path, self.temporary(), self.file.sibling(".bak"));
        self.step(Step::RemoveStale)?;
        remove_if_there(&temporary)?;
        self.step(Step::Create)?;
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW));
        let mut file = options.open(&temporary)?;
        let exists = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                keep_access(&file, &metadata)?;
                true
            }
            Ok(_) => return Err(io::Error::other("it is not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        self.step(Step::Write)?;
        file.write_all(content)?;
        self.step(Step::Sync)?;
        file.sync_all()?;
        self.step(Step::KeepPrevious)?;
        remove_if_there(&previous)?;
        if exists {
            fs::hard_link(path, &previous)?;
        }
        self.step(Step::Rename)?;
        fs::rename(&temporary, path)
    }

    /// Makes the rename durable and reads the new version back.
    fn confirm(&self, content: &[u8], verify: impl FnOnce(&[u8]) -> bool) -> io::Result<()> {
        let (path, previous) = (&self.file.path, self.file.sibling(".bak"));
        self.step(Step::SyncDirectory)?;
        sync_directory(path)?;
        self.step(Step::ReadBack)?;
        let written = read_checked(path, u64::MAX, false)?;
        if written.0 != content || !verify(&written.0) {
            return Err(io::Error::other(
                "what was read back is not what was written; the previous version is in .bak",
            ));
        }
        self.step(Step::RemovePrevious)?;
        remove_if_there(&previous)
    }

    fn temporary(&self) -> PathBuf {
        self.file.sibling(".tmp")
    }

    fn step(&self, step: Step) -> io::Result<()> {
        self.file.faults.before(step)
    }
}

/// What can be read from an open descriptor (`/dev/fd/3`), at most `max` bytes. Who may read it was decided when it was
/// opened.
pub(crate) fn read_descriptor(path: &Path, max: u64) -> Result<Wiped, FileError> {
    let read = || {
        // One byte more than allowed, and room for it: a buffer that grew would leave the secret behind.
        let capacity = usize::try_from(max).map_or(usize::MAX, |max| max + 1);
        let mut content = Wiped(vec![0; capacity]);
        let (mut file, mut len) = (File::open(path)?, 0);
        while let Some(rest) = content.0.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                read => len += read,
            }
        }
        if len == capacity {
            return Err(io::Error::other("it is too large to be such a file"));
        }
        content.0.truncate(len);
        Ok(content)
    };
    read().map_err(|source| FileError {
        action: "cannot read",
        path: path.to_owned(),
        source,
    })
}

/// An operator may let a service's group read a key store: mode and group stay, and never give more than reading. Where
/// the group cannot be kept, it gets nothing.
fn keep_access(file: &File, previous: &fs::Metadata) -> io::Result<()> {
    let kept = std::os::unix::fs::fchown(file, None, Some(previous.gid())).is_ok();
    let allowed = if kept { 0o644 } else { 0o600 };
    file.set_permissions(fs::Permissions::from_mode(
        previous.permissions().mode() & allowed,
    ))
}

/// The content may be a secret: it is read into a buffer that is large enough and wiped.
fn read_checked(path: &Path, max: u64, private: bool) -> io::Result<Wiped> {
    let flags = flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::LOOP) => io::Error::other("it is a symbolic link"),
            _ => error,
        })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if private && metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("its group or others have access: chmod 600"));
    }
    if private && metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if metadata.len() > max {
        return Err(io::Error::other("it is too large to be such a file"));
    }
    let mut content = Wiped(vec![0; usize::try_from(metadata.len()).unwrap_or(0)]);
    (&file).read_exact(&mut content.0)?;
    Ok(content)
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
