//! `phield keys key-file`: a key file beside the one of a ring, for a second wrap that is kept elsewhere.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use phield_core::{LocalKeyFile, Passphrase, RingError};

use crate::init::StretchingChoice;
use crate::{Error, Host};

/// Arguments of `phield keys key-file`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct KeyFileArguments {
    /// The key file to make
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// The file with its passphrase: an existing one of yours (chmod 600), or where a new one is written
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: PathBuf,
    /// The name of its provider, which wraps carry for good
    #[arg(long, value_name = "NAME", default_value = "break-glass")]
    pub name: String,
    /// How much work a guess of the passphrase costs; `minimal` is for tests
    #[arg(long, value_enum, default_value_t = StretchingChoice::Default, hide = true)]
    pub stretching: StretchingChoice,
}

pub(crate) fn run(arguments: &KeyFileArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let KeyFileArguments {
        file,
        passphrase_file,
        name,
        stretching,
    } = arguments;
    let name = phield_core::ProviderName::new(name.as_str())?;
    if file.exists() {
        return Err(RingError::Exists(file.clone()).into());
    }
    let passphrase = if passphrase_file.exists() {
        Passphrase::from_file(passphrase_file)?
    } else {
        let passphrase = Passphrase::generate().map_err(RingError::from)?;
        passphrase.write_new(passphrase_file)?;
        passphrase
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| RingError::Clock)?
        .as_secs();
    LocalKeyFile::create(file, &passphrase, stretching.parameters(), now)?;
    host.print(format_args!(
        "Made the key file {file}, under the passphrase in {passphrase}. Keep the two apart from each other.\n\
         \n\
         For phield.toml:\n\
         \n\
         [[provider]]\n\
         name = \"{name}\"\n\
         kind = \"local\"\n\
         keks = [\"1\"]\n\
         key_file = \"{file}\"\n\
         passphrase_file = \"{passphrase}\"\n\
         \n\
         Then wrap the keys that there are under it, and those that are made later:\n\
         phield keys wrap add --provider {name} --kek 1",
        file = file.display(),
        passphrase = passphrase_file.display(),
    ))
}
