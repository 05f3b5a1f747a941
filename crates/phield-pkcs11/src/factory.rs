//! The kind `pkcs11` of configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phield_core::config::{ConfigError, ProviderConfig};
use phield_core::{
    KekReference, KeyProvider, Passphrase, ProviderErrorKind, ProviderFactory, RingError, RingFuture,
};
use serde::Deserialize;

use crate::reference::KeyLabel;
use crate::{Pkcs11Error, Pkcs11Provider, Pkcs11Settings};

/// Overrides `pin_file`.
const VARIABLE: &str = "PHIELD_PKCS11_PIN_FILE";
const MAX_SESSIONS: usize = 256;
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// Opens the providers of kind `pkcs11` that `phield.toml` names.
///
/// Every key on the allow-lists is looked up and checked: a wrong PIN, a missing key or one that could be taken out
/// of the HSM is an error at the start. An HSM that is out of reach is not.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Pkcs11ProviderFactory;

impl Pkcs11ProviderFactory {
    /// The factory.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

/// The entries of an HSM.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    module: PathBuf,
    pin_file: Option<PathBuf>,
    sessions: Option<usize>,
    timeout_ms: Option<u64>,
}

impl ProviderFactory for Pkcs11ProviderFactory {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn open<'a>(
        &'a self,
        config: &'a ProviderConfig,
        folder: &'a Path,
    ) -> RingFuture<'a, Arc<dyn KeyProvider>> {
        Box::pin(async move {
            let provider = provider(config, folder)?;
            for key in keys(config)? {
                match provider.check_key(&key).await {
                    Err(error) if is_wrong(&error) => {
                        return Err(config.wrong(error.to_string()).into());
                    }
                    _ => {}
                }
            }
            Ok(Arc::new(provider) as Arc<dyn KeyProvider>)
        })
    }
}

/// Whether an error at the start is one of the configuration, not an outage. Two tokens of one label are an outage for whoever
/// has used one of them, and nothing to start with.
fn is_wrong(error: &Pkcs11Error) -> bool {
    error.kind() != ProviderErrorKind::Unavailable || matches!(error, Pkcs11Error::AmbiguousToken(_))
}

/// The keys on the allow-lists.
fn keys(config: &ProviderConfig) -> Result<Vec<KekReference>, ConfigError> {
    if config.keks.iter().any(|kek| config.mac_keys.contains(kek)) {
        return Err(config.wrong("a key is in keks and in mac_keys: every key has one purpose"));
    }
    let keys = config.keks.iter().chain(&config.mac_keys).map(|key| {
        let reference = KekReference::new(key.as_str()).filter(|key| KeyLabel::parse(key).is_ok());
        reference.ok_or_else(|| config.wrong(Pkcs11Error::Reference.to_string()))
    });
    keys.collect()
}

fn provider(config: &ProviderConfig, folder: &Path) -> Result<Pkcs11Provider, RingError> {
    let options: Options = config.options()?;
    let name = config.provider_name().map_err(ConfigError::from)?;
    let module = folder.join(options.module);
    if !module.is_file() {
        return Err(config
            .wrong(format!("module: {} does not exist", module.display()))
            .into());
    }
    let variable = config.variable(VARIABLE);
    let configured = options.pin_file.map(|file| folder.join(file));
    let pin_file = std::env::var_os(&variable).map(PathBuf::from).or(configured);
    let pin_file =
        pin_file.ok_or_else(|| config.wrong(format!("it needs pin_file, or the variable {variable}")))?;
    let mut settings = Pkcs11Settings::new(module, Passphrase::from_file(&pin_file)?);
    // A descriptor is read once.
    settings.pin_file = Some(pin_file).filter(|file| !file.starts_with("/dev/fd"));
    settings.sessions = options.sessions.unwrap_or(settings.sessions);
    if !(1..=MAX_SESSIONS).contains(&settings.sessions) {
        return Err(config.wrong("sessions is 1 to 256").into());
    }
    if let Some(timeout) = options.timeout_ms {
        if !TIMEOUT_MS.contains(&timeout) {
            return Err(config.wrong("timeout_ms is 100 to 600000").into());
        }
        settings.timeout = Duration::from_millis(timeout);
    }
    Ok(Pkcs11Provider::new(settings).with_name(name))
}
