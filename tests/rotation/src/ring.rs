//! A ring in a folder, as the testkit lays it out.

use std::io::Write as _;
use std::path::Path;

use phield::config::{Config, OneOrMany};
use phield::{
    Backends, CachePolicy, FileStore, FileWitness, KekReference, KeyId, KeyState, KeyUse, Manifest,
    ProviderName, Rekek, Ring, RingError, RingKeyPin, RingSettings, Rollout, Suite,
};

use crate::Failed;

/// The ring of a folder, as its `phield.toml` describes it.
pub async fn open(folder: &Path) -> Result<Ring, Failed> {
    Ok(Config::read(&folder.join("phield.toml"))?
        .ring(&Backends::local())
        .await?)
}

/// The ring of a copy of a folder, with the settings of the first: the key file is the same, and need not be opened again.
#[must_use]
pub fn of_copy(settings: &RingSettings, folder: &Path) -> Ring {
    let witness = FileWitness::new(folder.join("epoch.witness"));
    Ring::new(
        settings.clone(),
        FileStore::new(folder.join("ring.phield")),
        Some(witness),
    )
}

/// The active key of a use.
#[must_use]
pub fn active(manifest: &Manifest, key_use: KeyUse) -> Option<KeyId> {
    let mut keys = manifest.records.iter();
    let is_it =
        |record: &&phield::KeyRecord| record.context.key_use == key_use && record.state == KeyState::Active;
    keys.find(is_it).map(|record| record.context.key_id)
}

/// Publishes a successor of the active key and activates it, as an operator does by `phield keys add` and `phield keys activate`;
/// nothing, when it is done already: the active key is another one than `old`.
pub async fn replace(ring: &Ring, key_use: KeyUse, old: KeyId) -> Result<(), RingError> {
    let manifest = ring.load().await?.manifest().clone();
    if active(&manifest, key_use) != Some(old) {
        return Ok(());
    }
    let new = publish(ring, key_use).await?;
    ring.activate(new, Rollout::AcknowledgedByEveryInstance)
        .await
        .map(drop)
}

/// Publishes a successor of the active key, where there is none.
pub async fn publish(ring: &Ring, key_use: KeyUse) -> Result<KeyId, RingError> {
    let suite = (key_use == KeyUse::Data).then_some(Suite::Aes256Gcm);
    Ok(ring.successor(key_use, suite, None).await?.key_id)
}

/// Keys that refresh themselves soon, and are gone soon.
pub fn short(milliseconds: (u64, u64)) -> Result<CachePolicy, Failed> {
    let (soft, hard) = milliseconds;
    let millis = std::time::Duration::from_millis;
    Ok(CachePolicy::new(millis(soft), millis(hard))?)
}

/// The provider of a ring, and the one that a rotation of key-encryption keys goes to; both have the key `1`.
pub const PROVIDERS: [&str; 2] = ["local", "other"];

/// Re-wraps every key from the first provider to the other, two keys at a time. Gives a report in lines.
pub async fn rekek(ring: &Ring) -> Result<String, Failed> {
    let kek = |provider: &str| -> Result<_, Failed> {
        Ok((
            ProviderName::new(provider)?,
            KekReference::new("1").ok_or("no name")?,
        ))
    };
    let [from, to] = PROVIDERS;
    let mut rekek = Rekek::new(kek(from)?, kek(to)?);
    rekek.batch = 2;
    let done = ring.rekek(&rekek, &mut |_| {}).await?;
    if let Some((key, error)) = done.failed.into_iter().next() {
        return Err(format!("key {key}: {error}").into());
    }
    Ok("quarantined 0\n".to_owned())
}

/// The pins of a configuration.
pub fn pins(config: &Config) -> Result<Vec<RingKeyPin>, Failed> {
    let pins: &[String] = match &config.ring_key {
        OneOrMany::One(pin) => std::slice::from_ref(pin),
        OneOrMany::Many(pins) => pins,
    };
    Ok(pins.iter().map(|pin| pin.parse()).collect::<Result<_, _>>()?)
}

/// Replaces the ring key, `old`, by the five steps of `phield rotate ring`, with what an operator does to the configuration in
/// between. Goes on from the step that the ring and its configuration show. Gives a report in lines.
pub async fn replace_ring_key(folder: &Path, old: KeyId) -> Result<String, Failed> {
    loop {
        let ring = open(folder).await?;
        match ring.settings.pins.as_slice() {
            [pin] if pin.key_id() == old => {
                let new = ring.successor(KeyUse::Ring, None, None).await?.key_id;
                let verified = ring.load().await?;
                let new = RingKeyPin::of(verified.manifest().record(new).ok_or("the new key is lost")?);
                pin_keys(folder, &[pin, &new])?;
            }
            [first, second] if first.key_id() == old => pin_keys(folder, &[second, first])?,
            [first, _] => {
                ring.activate(first.key_id(), Rollout::AcknowledgedByEveryInstance)
                    .await?;
                pin_keys(folder, &[first])?;
            }
            _ => return Ok("quarantined 0\n".to_owned()),
        }
    }
}

/// Writes pins into the configuration.
fn pin_keys(folder: &Path, pins: &[&RingKeyPin]) -> Result<(), Failed> {
    let file = folder.join("phield.toml");
    let mut config = Config::read(&file)?;
    config.ring_key = OneOrMany::Many(pins.iter().map(ToString::to_string).collect());
    write_whole(&file, &config.to_toml()?)
}

/// Writes a file that is there whole, or as it was.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Failed> {
    let aside = path.with_extension("tmp");
    let mut file = std::fs::File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(std::fs::rename(aside, path)?)
}
