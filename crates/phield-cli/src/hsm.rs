//! `phield hsm`: the key creation ceremony of an HSM, and the check of a key in it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use phield_core::{
    KekReference, KeyContext, KeyId, KeyMaterial, KeyProvider as _, KeyUse, Passphrase, ProviderError,
    ProviderErrorKind, RingError, RingName,
};
use phield_pkcs11::{KeyReport, Pkcs11Error, Pkcs11Provider, Pkcs11Settings};

use crate::{Error, Host};

/// `phield hsm …`
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum HsmCommand {
    /// Make a key in the HSM that can sign, do nothing else and never be taken out; test it
    CreateKey(HsmKeyArguments),
    /// Check that a key in the HSM can sign, do nothing else and not be taken out; test it
    Check(HsmKeyArguments),
}

/// Which key of which HSM.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct HsmKeyArguments {
    /// The PKCS#11 module of the HSM: a shared library
    #[arg(long, value_name = "FILE")]
    pub module: PathBuf,
    /// The label of the token
    #[arg(long, value_name = "LABEL")]
    pub token: String,
    /// The label of the key
    #[arg(long, value_name = "LABEL")]
    pub label: String,
    /// A file with the user PIN, for your eyes alone (chmod 600), or /dev/fd/N
    #[arg(long, value_name = "FILE")]
    pub pin_file: PathBuf,
    /// What the key is for
    #[arg(long, value_enum, default_value_t = HsmKeyKind::Kek)]
    pub kind: HsmKeyKind,
}

/// What a key in an HSM is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum HsmKeyKind {
    /// It wraps the keys of rings
    Kek,
    /// It computes index values of the algorithm device-hmac-sha256
    Pepper,
}

pub(crate) async fn run(command: &HsmCommand, host: &mut Host<'_>) -> Result<(), Error> {
    let (HsmCommand::CreateKey(arguments) | HsmCommand::Check(arguments)) = command;
    let HsmKeyArguments {
        module,
        token,
        label,
        pin_file,
        kind,
    } = arguments;
    // The first slash parts token and key.
    let reference = KekReference::new(format!("{token}/{label}")).filter(|_| !token.contains('/'));
    let reference = reference.ok_or(Pkcs11Error::Reference)?;
    let pin = Passphrase::from_file(pin_file)?;
    let provider = Pkcs11Provider::new(Pkcs11Settings::new(module, pin));
    let report = match command {
        HsmCommand::CreateKey(_) => provider.create_key(&reference).await?,
        HsmCommand::Check(_) => provider.check_key(&reference).await?,
    };
    let tested = match kind {
        HsmKeyKind::Kek => try_kek(&provider, &reference).await?,
        HsmKeyKind::Pepper => try_pepper(&provider, &reference).await?,
    };
    host.print(format!("{}\n{tested}", describe(&report)))?;
    let entry = entry(module, pin_file, &reference, *kind)?;
    host.print(format!("\nIn phield.toml:\n\n{entry}"))?;
    host.print(
        "Back up the HSM as its maker says, or wrap under a second key-encryption key: what is wrapped under this key alone \
         is lost with it.",
    )
}

fn describe(report: &KeyReport) -> String {
    let key = &report.key;
    let origin = match report.born_inside {
        Some(true) => "It was made in the HSM and never was outside.",
        Some(false) => "It was imported, or could be taken out before: somebody may have a copy.",
        None => "The HSM does not say whether it was made inside.",
    };
    format!(
        "The key {key} signs (HMAC-SHA-256), does nothing else, and cannot be taken out of the HSM.\n{origin}"
    )
}

/// Wraps a random key, and unwraps it.
async fn try_kek(provider: &Pkcs11Provider, kek: &KekReference) -> Result<&'static str, Error> {
    const TRIAL: KeyId = KeyId::new(1).unwrap();
    let context = KeyContext::new(RingName::from_static("phield-hsm-trial"), TRIAL, KeyUse::Ring);
    let key = KeyMaterial::random().map_err(RingError::from)?;
    let wrapped = provider.wrap(kek, &context, &key).await?;
    let opened = provider.unwrap(kek, &context, &wrapped).await?;
    if opened.expose_bytes() == key.expose_bytes() {
        Ok("A random key was wrapped under it and unwrapped again.")
    } else {
        Err(ProviderError::new(ProviderErrorKind::Authentication, "unwrap").into())
    }
}

/// Computes an index value of nothing, twice.
async fn try_pepper(provider: &Pkcs11Provider, pepper: &KekReference) -> Result<&'static str, Error> {
    let first = provider.mac(pepper, b"phield hsm trial").await?;
    if provider.mac(pepper, b"phield hsm trial").await? == first {
        Ok("It computed one value twice, and both were the same.")
    } else {
        Err(ProviderError::new(ProviderErrorKind::Authentication, "mac").into())
    }
}

/// What to put into `phield.toml`.
fn entry(
    module: &Path,
    pin_file: &Path,
    reference: &KekReference,
    kind: HsmKeyKind,
) -> Result<String, Error> {
    let list = |of: HsmKeyKind| {
        let keys = if kind == of {
            vec![reference.as_str()]
        } else {
            Vec::new()
        };
        quoted(&keys)
    };
    let path = |path: &Path| {
        let path = std::path::absolute(path).map_err(|source| Error::File {
            action: "find",
            path: path.to_owned(),
            source,
        })?;
        quoted(&path.to_str().ok_or(Error::Path)?)
    };
    let mut entry = format!("[[provider]]\nname = \"pkcs11\"\nmodule = {}\n", path(module)?);
    if !pin_file.starts_with("/dev/fd") {
        entry.push_str(&format!("pin_file = {}\n", path(pin_file)?));
    }
    entry.push_str(&format!("keks = {}\n", list(HsmKeyKind::Kek)?));
    if kind == HsmKeyKind::Pepper {
        entry.push_str(&format!("mac_keys = {}\n", list(HsmKeyKind::Pepper)?));
    }
    Ok(entry)
}

/// Texts of JSON are texts of TOML.
fn quoted(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Output(error.into()))
}
