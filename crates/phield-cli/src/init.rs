//! `phield init`: a key ring under a local key file, AWS KMS, an HSM. Nothing can be sealed with a key before the ring that
//! holds it was backed up and its restore was rehearsed (I-9).

mod providers;
mod report;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use phield_core::config::{Config, LocalFiles, ProviderConfig};
use phield_core::{
    AllowedProvider, AppName, FileStore, FileWitness, KekReference, LocalKeyFile, LocalProvider, Passphrase,
    Ring, RingError, RingName, RingSettings, Stretching, Suite, VerifiedRing,
};

pub use providers::KekArguments;

use crate::rehearsal::{self, Environment, VerifyBackupArguments};
use crate::{Error, Host};

const KEY_FILE: &str = "keys.phield";
const PASSPHRASE_FILE: &str = "passphrase";
const RING_FILE: &str = "ring.phield";
const WITNESS_FILE: &str = "epoch.witness";
const CONFIG_FILE: &str = "phield.toml";

/// Arguments of `phield init`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct InitArguments {
    /// The application that owns the data: a name that never changes
    #[arg(long, value_name = "NAME")]
    pub app: String,
    /// The ring, one per environment: clinic-production, clinic-test
    #[arg(long, value_name = "NAME")]
    pub ring: String,
    /// The folder to make: ring, phield.toml, and key file and passphrase where there is one
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The cipher of the data keys
    #[arg(long, value_enum, default_value_t = SuiteChoice::Aes256Gcm)]
    pub suite: SuiteChoice,
    /// Where the backup of the ring is written [default: DIR/backup/ring.phield]
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
    /// An existing file with the passphrase of the key file, for your eyes alone (chmod 600) [default: a new one in DIR]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub keks: KekArguments,
    /// How much work a guess of the passphrase costs; `minimal` is for tests
    #[arg(long, value_enum, default_value_t = StretchingChoice::Default, hide = true)]
    pub stretching: StretchingChoice,
}

/// The cipher of data keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum SuiteChoice {
    /// AES-256-GCM
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    /// XChaCha20-Poly1305
    #[value(name = "xchacha20-poly1305")]
    XChaCha20Poly1305,
}

impl From<SuiteChoice> for Suite {
    fn from(choice: SuiteChoice) -> Self {
        match choice {
            SuiteChoice::Aes256Gcm => Self::Aes256Gcm,
            SuiteChoice::XChaCha20Poly1305 => Self::XChaCha20Poly1305,
        }
    }
}

/// How the passphrase is stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum StretchingChoice {
    /// About a second a guess
    Default,
    /// As little as the format allows, for tests
    Minimal,
}

impl StretchingChoice {
    pub(crate) fn parameters(self) -> Stretching {
        match self {
            Self::Default => Stretching::default(),
            Self::Minimal => Stretching::minimal(),
        }
    }
}

pub(crate) async fn run(arguments: &InitArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let plan = Plan::new(arguments)?;
    plan.refuse_existing()?;
    let mut made = Vec::new();
    let prepared = plan.prepare(&mut made, host).await?;
    let published = plan.publish(&prepared, &mut made).await?.load().await;
    let published = published.map_err(|error| Error::AfterPublish(Box::new(error.into())))?;
    plan.report(&prepared, &published, host)
}

/// A ring that is backed up and not published yet.
struct Prepared {
    settings: RingSettings,
    providers: Vec<ProviderConfig>,
    new: VerifiedRing,
    /// What the rehearsal said.
    rehearsal: String,
}

/// What is to be made, and where.
struct Plan {
    app: AppName,
    ring: RingName,
    suite: Suite,
    stretching: Stretching,
    folder: PathBuf,
    backup: PathBuf,
    backup_is_inside: bool,
    /// An existing passphrase file.
    passphrase: Option<PathBuf>,
    keks: KekArguments,
}

impl Plan {
    fn new(arguments: &InitArguments) -> Result<Self, Error> {
        let InitArguments {
            app,
            ring,
            dir,
            suite,
            backup,
            passphrase_file,
            keks,
            stretching,
        } = arguments;
        if passphrase_file.is_some() && !keks.has_key_file() {
            return Err(Error::NoKeyFile);
        }
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|source| Error::File {
                action: "find",
                path: path.to_owned(),
                source,
            })
        };
        let folder = absolute(dir)?;
        Ok(Self {
            app: AppName::new(app.as_str())?,
            ring: RingName::new(ring.as_str())?,
            suite: (*suite).into(),
            stretching: stretching.parameters(),
            backup: backup
                .as_deref()
                .map_or_else(|| Ok(folder.join("backup").join(RING_FILE)), absolute)?,
            backup_is_inside: backup.is_none(),
            passphrase: passphrase_file.as_deref().map(absolute).transpose()?,
            keks: keks.clone(),
            folder,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn passphrase_path(&self) -> PathBuf {
        self.passphrase
            .clone()
            .unwrap_or_else(|| self.file(PASSPHRASE_FILE))
    }

    /// As `phield.toml` names it.
    fn backup_in_config(&self) -> PathBuf {
        let inside = self.backup.strip_prefix(&self.folder);
        inside.map_or_else(|_| self.backup.clone(), Path::to_owned)
    }

    /// Refuses to touch a ring, and what may be the only key to the backup of one.
    fn refuse_existing(&self) -> Result<(), Error> {
        let ring = self.file(RING_FILE);
        if is_there(&ring) {
            return Err(Error::RingExists(ring));
        }
        let mut found = vec![
            self.file(KEY_FILE),
            self.file(CONFIG_FILE),
            self.file(WITNESS_FILE),
            self.backup.clone(),
        ];
        if self.passphrase.is_none() {
            found.insert(1, self.file(PASSPHRASE_FILE));
        }
        found.retain(|path| is_there(path));
        if found.is_empty() {
            Ok(())
        } else {
            Err(Error::LeftOvers { ring, found })
        }
    }

    /// Key file, ring in memory, configuration, backup, rehearsal.
    async fn prepare(&self, made: &mut Vec<PathBuf>, host: &Host<'_>) -> Result<Prepared, Error> {
        fail("make the folder", made, |_| self.make_home())?;
        let opened = self.keks.open(&self.folder, host.backends()).await;
        let mut opened = fail("open the key-encryption keys", made, |_| opened)?;
        if self.keks.has_key_file() {
            let keys = fail("make the key file", made, |made| self.make_key_file(made))?;
            let kek = KekReference::new("1").ok_or(RingError::Malformed("the key file"))?;
            let provider = AllowedProvider::new(Arc::new(LocalProvider::new(&keys)), [kek]);
            opened.push((self.files().provider(), provider));
        }
        let (providers, allowed): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let mut settings = RingSettings::new(self.app.clone(), self.ring.clone(), allowed);
        let new = Ring::generate(&mut settings, &[(None, self.suite)]).await;
        let new = fail("make the ring", made, |_| Ok(new?))?;
        let token = match new.keyring(&settings).await {
            Ok(keyring) => rehearsal::seal_probe(&keyring),
            Err(error) => Err(error.into()),
        };
        let token = fail("seal a test token", made, |_| token)?;
        fail("write the configuration", made, |made| {
            self.write_config(&settings, &providers, made)
        })?;
        fail("write the backup", made, |made| self.write_backup(&new, made))?;
        let rehearsal = fail("rehearse the restore of the backup", made, |_| {
            let config = self.file(CONFIG_FILE);
            let arguments = VerifyBackupArguments {
                config,
                backup: self.backup.clone(),
                token: Some(token),
                every_wrap: true,
                closed: Vec::new(),
                json: false,
            };
            rehearsal::rehearse(&arguments, Environment::Bare, host)
        })?;
        Ok(Prepared {
            settings,
            providers,
            new,
            rehearsal,
        })
    }

    /// Only a ring that was restored once reaches the key store.
    async fn publish(&self, prepared: &Prepared, made: &mut Vec<PathBuf>) -> Result<Ring, Error> {
        let (path, witness) = (self.file(RING_FILE), FileWitness::new(self.file(WITNESS_FILE)));
        let ring = Ring::new(prepared.settings.clone(), FileStore::new(&path), Some(witness));
        match ring.publish(&prepared.new).await {
            Ok(()) => Ok(ring),
            Err(error @ RingError::Conflict) => Err(error.into()),
            Err(error) if is_there(&path) => Err(Error::AfterPublish(Box::new(error.into()))),
            Err(error) => fail("publish the ring", made, |_| Err(error.into())),
        }
    }

    fn make_home(&self) -> Result<(), Error> {
        let existed = is_there(&self.folder);
        make_folder(&self.folder)?;
        if !existed {
            // A folder of secrets may lie in a repository; one that was there may be a repository.
            let path = self.file(".gitignore");
            let written = write_new(&path, b"*\n");
            written.map_err(|source| Error::File {
                action: "write",
                path,
                source,
            })?;
        }
        Ok(())
    }

    fn make_key_file(&self, made: &mut Vec<PathBuf>) -> Result<LocalKeyFile, Error> {
        let passphrase = match &self.passphrase {
            Some(file) => Passphrase::from_file(file)?,
            None => {
                let passphrase = Passphrase::generate().map_err(RingError::from)?;
                let path = self.passphrase_path();
                ours(passphrase.write_new(&path), path, made)?;
                passphrase
            }
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| RingError::Clock)?
            .as_secs();
        let path = self.file(KEY_FILE);
        ours(
            LocalKeyFile::create(&path, &passphrase, self.stretching, now),
            path,
            made,
        )
    }

    /// Where what is made goes, as `phield.toml` names it.
    fn files(&self) -> LocalFiles {
        LocalFiles {
            folder: self.folder.clone(),
            key_store: RING_FILE.into(),
            epoch_witness: WITNESS_FILE.into(),
            key_file: KEY_FILE.into(),
            passphrase_file: self.passphrase.clone().unwrap_or_else(|| PASSPHRASE_FILE.into()),
            backup: Some(self.backup_in_config()),
        }
    }

    fn write_config(
        &self,
        settings: &RingSettings,
        providers: &[ProviderConfig],
        made: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let pin = settings
            .pins
            .first()
            .ok_or(phield_core::config::ConfigError::NoPin)?;
        let mut config = Config::local(&self.app, &self.ring, pin, self.files());
        config.providers = providers.to_vec();
        let config = config.to_toml().map_err(|_| Error::Path)?;
        let text =
            format!("# Made by `phield init`. Relative paths start at the folder of this file.\n\n{config}");
        let path = self.file(CONFIG_FILE);
        let written = write_new(&path, text.as_bytes());
        if written
            .as_ref()
            .err()
            .is_none_or(|error| error.kind() != ErrorKind::AlreadyExists)
        {
            made.push(path.clone());
        }
        written.map_err(|source| Error::File {
            action: "write",
            path,
            source,
        })
    }

    fn write_backup(&self, new: &VerifiedRing, made: &mut Vec<PathBuf>) -> Result<(), Error> {
        if let Some(folder) = self.backup.parent() {
            make_folder(folder)?;
        }
        ours(
            FileStore::new(&self.backup).replace(None, new.stored()),
            self.backup.clone(),
            made,
        )
    }
}

/// Does one step. Its error says what is left behind of the steps before.
fn fail<T>(
    step: &'static str,
    made: &mut Vec<PathBuf>,
    run: impl FnOnce(&mut Vec<PathBuf>) -> Result<T, Error>,
) -> Result<T, Error> {
    run(made).map_err(|source| {
        made.retain(|path| is_there(path));
        Error::Init {
            step,
            made: made.clone(),
            source: Box::new(source),
        }
    })
}

/// Notes a file as made here, also when writing it failed half way; not when somebody else had made it.
fn ours<T>(result: Result<T, RingError>, path: PathBuf, made: &mut Vec<PathBuf>) -> Result<T, Error> {
    if !matches!(result, Err(RingError::Exists(_) | RingError::Conflict)) {
        made.push(path);
    }
    Ok(result?)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Makes a folder, and those above it, for its owner alone. One that is there stays as it is.
fn make_folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::File {
        action: "make the folder",
        path: path.to_owned(),
        source,
    })
}

/// Writes a new file for its owner alone, and syncs it and its folder.
fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    path.parent()
        .map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}
