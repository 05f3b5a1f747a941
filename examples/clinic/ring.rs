//! The key ring beside the database: made as `phield init` makes one, loaded as every application loads one.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use phield::config::{Config, LocalFiles};
use phield::{
    AllowedProvider, AppName, FileStore, FileWitness, KekReference, Keyring, LocalKeyFile, LocalProvider,
    Passphrase, Ring, RingError, RingName, RingSettings, Stretching, Suite,
};

use crate::Failure;

const CONFIG: &str = "phield.toml";
const KEY_FILE: &str = "keys.phield";
const PASSPHRASE: &str = "passphrase";
const KEY_STORE: &str = "ring.phield";
const EPOCH_WITNESS: &str = "epoch.witness";

/// Loads the ring in a folder.
pub(crate) async fn load(folder: &Path) -> Result<Keyring, RingError> {
    Keyring::load(folder.join(CONFIG)).await
}

/// Makes a new ring in a new folder that only its owner can read. The configuration is written last: without it there
/// is no ring.
///
/// Everything in one folder is good for a demonstration. In production the passphrase, the epoch witness and the
/// backup each have a place of their own.
pub(crate) async fn create(folder: &Path, stretching: Stretching) -> Result<(), Failure> {
    let (app, name) = (AppName::new("clinic")?, RingName::new("clinic-example")?);
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|error| {
        let message = format!("cannot make the folder {}: {error}", folder.display());
        std::io::Error::new(error.kind(), message)
    })?;
    let passphrase = Passphrase::generate()?;
    passphrase.write_new(&folder.join(PASSPHRASE))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let key_file = LocalKeyFile::create(&folder.join(KEY_FILE), &passphrase, stretching, now)?;

    let kek = KekReference::new("1").expect("one digit is a reference");
    let provider = AllowedProvider::new(Arc::new(LocalProvider::new(&key_file)), vec![kek]);
    let mut settings = RingSettings::new(app.clone(), name.clone(), vec![provider]);
    let generated = Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)]).await?;
    back_up(folder, generated.stored())?; // before anything can be sealed with its keys

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
    Ok(fs::write(
        folder.join(CONFIG),
        Config::local(&app, &name, &pin, files).to_toml()?,
    )?)
}

/// A copy of the key file and of the ring's manifest.
fn back_up(folder: &Path, manifest: &[u8]) -> Result<(), Failure> {
    let backup = folder.join("backup");
    DirBuilder::new().mode(0o700).create(&backup)?;
    fs::copy(folder.join(KEY_FILE), backup.join(KEY_FILE))?;
    Ok(fs::write(backup.join(KEY_STORE), manifest)?)
}
