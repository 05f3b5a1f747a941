//! The key ring of the demonstration: made at the first start as `phield init` makes one, loaded as every application
//! loads one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use phield::config::{Config, LocalFiles};
use phield::{
    AllowedProvider, AppName, FileStore, FileWitness, KekReference, Keyring, LocalKeyFile, LocalProvider,
    Passphrase, Ring, RingError, RingName, RingSettings, Stretching, Suite,
};

const CONFIG: &str = "phield.toml";
const KEY_FILE: &str = "keys.phield";
const PASSPHRASE: &str = "passphrase";
const KEY_STORE: &str = "ring.phield";
const EPOCH_WITNESS: &str = "epoch.witness";

/// Why there is no key ring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// phield refused.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A file was not written.
    #[error("cannot write the key ring")]
    File(#[from] io::Error),
    /// The configuration was not written.
    #[error("cannot write phield.toml")]
    Config,
}

/// Loads the ring in a folder, and makes it first if the folder is not there.
///
/// # Errors
/// When a file cannot be read or written, or is not what it should be.
pub async fn load_or_create(folder: &Path, stretching: Stretching) -> Result<Keyring, Failure> {
    if !folder.exists() {
        create(folder, stretching).await?;
    }
    Ok(Keyring::load(folder.join(CONFIG)).await?)
}

/// Makes a new ring in a new folder that only its owner can read. The configuration is written last: without it there
/// is no ring.
///
/// Everything in one folder is good for a demonstration. In production the passphrase, the epoch witness and the
/// backup each have a place of their own.
async fn create(folder: &Path, stretching: Stretching) -> Result<(), Failure> {
    let (app, name) = (
        AppName::from_static("clinic"),
        RingName::from_static("clinic-service"),
    );
    DirBuilder::new().mode(0o700).create(folder)?;
    let passphrase = Passphrase::generate().map_err(RingError::from)?;
    passphrase.write_new(&folder.join(PASSPHRASE))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| RingError::Clock)?;
    let key_file = LocalKeyFile::create(&folder.join(KEY_FILE), &passphrase, stretching, now.as_secs())?;

    let kek = KekReference::new("1").expect("one digit is a reference");
    let provider = AllowedProvider::new(Arc::new(LocalProvider::new(&key_file)), vec![kek]);
    let mut settings = RingSettings::new(app.clone(), name.clone(), vec![provider]);
    let generated = Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)]).await?;
    let pin = settings.pins.first().expect("a new ring pins its key").clone();
    let witness = FileWitness::new(folder.join(EPOCH_WITNESS));
    Ring::new(settings, FileStore::new(folder.join(KEY_STORE)), Some(witness))
        .publish(&generated)
        .await?;
    let files = LocalFiles {
        folder: folder.to_owned(),
        key_store: KEY_STORE.into(),
        epoch_witness: EPOCH_WITNESS.into(),
        key_file: KEY_FILE.into(),
        passphrase_file: PASSPHRASE.into(),
        backup: None,
    };
    let config = Config::local(&app, &name, &pin, files);
    let config = config.to_toml().map_err(|_| Failure::Config)?;
    Ok(fs::write(folder.join(CONFIG), config)?)
}
