//! Local keys (format §8.4): a file of key-encryption keys under a passphrase, and the provider that serves it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::backends::ProviderFactory;
use crate::cipher;
use crate::config::{ConfigError, ProviderConfig};
use crate::context::KeyContext;
use crate::durable::{self, DurableFile, Faults};
use crate::error::RingError;
use crate::key::{FileKey, Kek, KeyMaterial};
use crate::lp;
use crate::name::ProviderName;
use crate::provider::{KeyProvider, ProviderError, ProviderErrorKind, ProviderFuture};
use crate::random::{self, RandomError};
use crate::record::{KekReference, KeyState};
use crate::schedule;
use crate::store::RingFuture;
use crate::stretch::Stretching;
use crate::wipe::Wiped;
use crate::wrap;

/// The name of the local provider in wraps.
pub(crate) const LOCAL: ProviderName = ProviderName::from_static("local");

const MAGIC: &[u8; 5] = b"PHLK\x01";
/// The KDF bytes.
const ARGON2ID: u8 = 0x01;
const PBKDF2: u8 = 0x02;
/// Largest key file that is read: thousands of keys.
const MAX_FILE: u64 = 1 << 20;
/// Largest passphrase file that is read.
const MAX_PASSPHRASE: u64 = 4096;

/// The passphrase of a key file. Erased on drop.
pub struct Passphrase(Wiped);

impl Passphrase {
    /// A passphrase: its exact UTF-8 bytes.
    #[must_use]
    pub fn new(passphrase: String) -> Self {
        Self(Wiped(passphrase.into_bytes()))
    }

    /// A fresh passphrase of 256 random bits, 43 characters of base64url.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, RandomError> {
        let random = KeyMaterial::random()?;
        let mut text = Wiped(vec![0; BASE64URL_NOPAD.encode_len(32)]);
        BASE64URL_NOPAD.encode_mut(random.expose_bytes(), &mut text.0);
        Ok(Self(text))
    }

    /// The passphrase in a file: its bytes, one trailing line feed removed. The file must be the user's own, a regular
    /// file, without access for others. `/dev/fd/N` reads an open descriptor instead, a pipe for example.
    ///
    /// # Errors
    /// When the file cannot be read, is missing, empty or not UTF-8, or others have access.
    pub fn from_file(path: &Path) -> Result<Self, RingError> {
        let mut bytes = if path.starts_with("/dev/fd") {
            durable::read_descriptor(path, MAX_PASSPHRASE)?
        } else {
            let read = DurableFile::new(path).read(MAX_PASSPHRASE, true)?;
            Wiped(read.ok_or_else(|| ConfigError::NoFile(path.to_owned()))?)
        };
        if bytes.0.last() == Some(&b'\n') {
            bytes.0.pop();
        }
        if bytes.0.is_empty() || std::str::from_utf8(&bytes.0).is_err() {
            return Err(ConfigError::Passphrase(path.to_owned()).into());
        }
        Ok(Self(bytes))
    }

    /// The text, for a provider that has to give it to a device: the PIN of an HSM is one.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "it is text, whatever made it")]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0.0).expect("a passphrase is made of text")
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0.0
    }

    /// Writes the passphrase and a line feed to a new file that only its owner can read.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), RingError> {
        let file = DurableFile::new(path);
        let lock = file.lock()?;
        if file.exists() {
            return Err(RingError::Exists(path.to_owned()));
        }
        let content = Wiped([self.as_bytes(), b"\n"].concat());
        Ok(lock.replace(&content.0, |_| true)?)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase").finish_non_exhaustive()
    }
}

/// A key-encryption key of a key file.
#[derive(Debug)]
struct KekEntry {
    created: u64,
    state: KeyState,
    key: KeyMaterial,
}

/// A local key file, opened.
#[derive(Debug)]
pub struct LocalKeyFile {
    keks: BTreeMap<u32, KekEntry>,
}

impl LocalKeyFile {
    /// Makes a new file with one fresh key-encryption key, id 1.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(
        path: &Path,
        passphrase: &Passphrase,
        stretching: Stretching,
        now: u64,
    ) -> Result<Self, RingError> {
        Self::create_with_faults(path, passphrase, stretching, now, None)
    }

    /// As [`create`](Self::create), for the testkit.
    #[doc(hidden)]
    pub fn create_with_faults(
        path: &Path,
        passphrase: &Passphrase,
        stretching: Stretching,
        now: u64,
        faults: Option<Arc<dyn Faults>>,
    ) -> Result<Self, RingError> {
        let kek = KekEntry {
            created: now,
            state: KeyState::Active,
            key: KeyMaterial::random()?,
        };
        let created = Self {
            keks: BTreeMap::from([(1, kek)]),
        };
        let file = DurableFile::new(path);
        let file = match faults {
            Some(faults) => file.with_faults(faults),
            None => file,
        };
        let lock = file.lock()?;
        if file.exists() {
            return Err(RingError::Exists(path.to_owned()));
        }
        let nonce = cipher::nonce(random::array)?;
        let content = created.seal(passphrase, stretching, &random::array()?, nonce)?;
        lock.replace(&content, |written| Self::parse(written, passphrase).is_ok())?;
        Ok(created)
    }

    /// Opens a key file. Takes about a second, by design.
    ///
    /// # Errors
    /// When the file is missing, a symlink, another user's or accessible to others (`File`); not a key file
    /// (`Malformed`); out of bounds (`Config`); or the passphrase is wrong (`Authentication`).
    pub fn open(path: &Path, passphrase: &Passphrase) -> Result<Self, RingError> {
        let content = DurableFile::new(path).read(MAX_FILE, true)?;
        Self::parse(
            &content.ok_or_else(|| ConfigError::NoFile(path.to_owned()))?,
            passphrase,
        )
    }

    /// The ids and states of the keys.
    pub fn keks(&self) -> impl Iterator<Item = (KekReference, KeyState, u64)> + '_ {
        let reference = |id: &u32| KekReference::new(id.to_string());
        self.keks
            .iter()
            .filter_map(move |(id, kek)| Some((reference(id)?, kek.state, kek.created)))
    }

    fn seal(
        &self,
        passphrase: &Passphrase,
        stretching: Stretching,
        salt: &[u8; 16],
        mut nonce: [u8; 12],
    ) -> Result<Vec<u8>, RingError> {
        let (kdf, m, t, p) = fields(stretching.check()?);
        let mut file = [
            MAGIC.as_slice(),
            &[kdf],
            &m.to_be_bytes(),
            &t.to_be_bytes(),
            &[p],
            salt.as_slice(),
        ]
        .concat();
        let key = stretching.stretch(passphrase.as_bytes(), salt)?;
        let content_key = schedule::local_content_key(&key, &file);
        let commitment = schedule::local_commitment(&key, &file);
        file.extend_from_slice(&commitment);
        let mut content = self.encode_keks();
        cipher::seal_vec(content_key.expose_bytes(), &mut nonce, &file, &mut content.0)
            .map_err(|_| RingError::Malformed("the key file is too large"))?;
        let len =
            u32::try_from(content.0.len()).map_err(|_| RingError::Malformed("the key file is too large"))?;
        file.extend_from_slice(&nonce);
        file.extend_from_slice(&len.to_be_bytes());
        file.extend_from_slice(&content.0);
        Ok(file)
    }

    /// `LP(LP(u32(KEK id), u64(created), state(1), key(32))…)`, in one buffer that does not grow.
    pub(crate) fn encode_keks(&self) -> Wiped {
        const ENTRY: usize = 4 + 4 * 4 + 4 + 8 + 1 + 32;
        let mut out = Wiped(Vec::with_capacity(4 + self.keks.len() * (4 + ENTRY) + 16));
        let mut entry = Wiped(Vec::with_capacity(ENTRY));
        let mut list = lp::Writer::new(&mut out.0, u32::try_from(self.keks.len()).unwrap_or(u32::MAX));
        for (id, KekEntry { created, state, key }) in &self.keks {
            entry.0.clear();
            lp::Writer::new(&mut entry.0, 4)
                .element(&id.to_be_bytes())
                .element(&created.to_be_bytes())
                .element(&[state.byte()])
                .element(key.expose_bytes());
            list.element(&entry.0);
        }
        out
    }

    pub(crate) fn parse(file: &[u8], passphrase: &Passphrase) -> Result<Self, RingError> {
        let (layout, stretching) = Layout::checked(file)?;
        let key = stretching.stretch(passphrase.as_bytes(), layout.salt)?;
        layout.open(&key)
    }
}

/// The keys of a key file from its decrypted content.
pub(crate) fn decode_keks(content: &[u8]) -> Option<LocalKeyFile> {
    let mut keks = BTreeMap::new();
    for entry in lp::decode_list(content)? {
        let [id, created, state, key] = lp::decode::<4>(entry)?;
        let (id, &[state], key) = (
            u32::from_be_bytes(id.try_into().ok()?),
            state,
            <&[u8; 32]>::try_from(key).ok()?,
        ) else {
            return None;
        };
        if keks.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return None;
        }
        let created = u64::from_be_bytes(created.try_into().ok()?);
        let key = KeyMaterial::init_with(|k| k.copy_from_slice(key));
        keks.insert(
            id,
            KekEntry {
                created,
                state: KeyState::from_byte(state)?,
                key,
            },
        );
    }
    Some(LocalKeyFile { keks })
}

/// KDF byte, m, t and p of a key file.
fn fields(stretching: Stretching) -> (u8, u32, u32, u8) {
    match stretching {
        Stretching::Argon2id {
            memory_kib,
            passes,
            lanes,
        } => (ARGON2ID, memory_kib, passes, lanes),
        Stretching::Pbkdf2 { iterations } => (PBKDF2, 0, iterations, 0),
    }
}

/// The parts of a key file.
pub(crate) struct Layout<'a> {
    kdf: u8,
    m: u32,
    t: u32,
    p: u8,
    salt: &'a [u8; 16],
    /// `file[0..31]`
    header: &'a [u8],
    commitment: &'a [u8; 16],
    /// `file[0..47]`
    aad: &'a [u8],
    nonce: &'a [u8; 12],
    content: &'a [u8],
}

impl<'a> Layout<'a> {
    /// Layout and bounds: everything that is checked before a passphrase is stretched or memory is allocated for it.
    pub(crate) fn checked(file: &'a [u8]) -> Result<(Self, Stretching), RingError> {
        let layout = Self::parse(file).ok_or(RingError::Malformed("it is not a local key file"))?;
        let stretching = layout.stretching()?;
        Ok((layout, stretching))
    }

    /// The keys, under the stretched passphrase: commitment, content, encoding.
    pub(crate) fn open(&self, key: &FileKey) -> Result<LocalKeyFile, RingError> {
        let commitment = schedule::local_commitment(key, self.header);
        if !bool::from(commitment.ct_eq(self.commitment)) {
            return Err(RingError::Authentication);
        }
        let content_key = schedule::local_content_key(key, self.header);
        let mut content = Wiped(self.content.to_vec());
        let content = cipher::open_slice(content_key.expose_bytes(), self.nonce, self.aad, &mut content.0)
            .map_err(|_| RingError::Authentication)?;
        decode_keks(content).ok_or(RingError::Malformed("the keys in the key file"))
    }

    fn parse(file: &'a [u8]) -> Option<Self> {
        let (header, _) = file.split_at_checked(31)?;
        let (aad, _) = file.split_at_checked(47)?;
        let (magic, rest) = file.split_first_chunk::<5>()?;
        let (&[kdf], rest) = rest.split_first_chunk::<1>()?;
        let (m, rest) = rest.split_first_chunk::<4>()?;
        let (t, rest) = rest.split_first_chunk::<4>()?;
        let (&[p], rest) = rest.split_first_chunk::<1>()?;
        let (salt, rest) = rest.split_first_chunk::<16>()?;
        let (commitment, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<12>()?;
        let (len, content) = rest.split_first_chunk::<4>()?;
        let known = magic == MAGIC && matches!(kdf, ARGON2ID | PBKDF2);
        let exact = usize::try_from(u32::from_be_bytes(*len)).ok()? == content.len();
        let (m, t) = (u32::from_be_bytes(*m), u32::from_be_bytes(*t));
        (known && exact).then_some(Self {
            kdf,
            m,
            t,
            p,
            salt,
            header,
            commitment,
            aad,
            nonce,
            content,
        })
    }

    fn stretching(&self) -> Result<Stretching, ConfigError> {
        let stretching = match (self.kdf, self.m, self.p) {
            (ARGON2ID, memory_kib, lanes) => Stretching::Argon2id {
                memory_kib,
                passes: self.t,
                lanes,
            },
            (_, 0, 0) => Stretching::Pbkdf2 { iterations: self.t },
            _ => return Err(ConfigError::Stretching),
        };
        stretching.check()
    }
}

/// A key of a key file that wraps.
#[derive(Debug)]
struct ServedKek {
    state: KeyState,
    created: u64,
    key: Kek,
}

/// The provider `local`: derived wraps under the keys of a key file.
#[derive(Debug)]
pub struct LocalProvider {
    name: ProviderName,
    keks: BTreeMap<KekReference, ServedKek>,
}

impl LocalProvider {
    /// Serves the keys of an opened key file that are not destroyed; new keys are wrapped under active ones alone.
    #[must_use]
    pub fn new(file: &LocalKeyFile) -> Self {
        let live = file.keks.iter().filter(|(_, kek)| kek.state.opens());
        let keks = live.filter_map(|(id, kek)| {
            let reference = KekReference::new(id.to_string())?;
            let served = ServedKek {
                state: kek.state,
                created: kek.created,
                key: Kek::new(kek.key.expose_bytes()),
            };
            Some((reference, served))
        });
        Self {
            name: LOCAL,
            keks: keks.collect(),
        }
    }

    /// The same keys under another name: for a second key file beside the first, kept by somebody else.
    #[must_use]
    pub fn with_name(mut self, name: ProviderName) -> Self {
        self.name = name;
        self
    }

    fn kek(&self, reference: &KekReference, call: &'static str) -> Result<&ServedKek, ProviderError> {
        self.keks
            .get(reference)
            .ok_or_else(|| ProviderError::new(ProviderErrorKind::UnknownKek, call))
    }
}

impl KeyProvider for LocalProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn kek_created(&self, kek: &KekReference) -> Option<u64> {
        self.keks.get(kek).map(|served| served.created)
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        let failed = |kind| ProviderError::new(kind, "wrap");
        let wrapped = self.kek(kek, "wrap").and_then(|served| match served.state {
            KeyState::Active => wrap::seal(&served.key, &context.encode(), key)
                .map_err(|source| failed(ProviderErrorKind::Unavailable).with_source(source)),
            _ => Err(failed(ProviderErrorKind::Refused)),
        });
        Box::pin(ready(wrapped))
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        Box::pin(ready(self.kek(kek, "unwrap").and_then(|served| {
            wrap::open(&served.key, &context.encode(), wrapped)
        })))
    }
}

/// The kind `local` of configuration.
pub(crate) struct LocalProviderFactory;

/// The entries of a local provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalOptions {
    key_file: PathBuf,
    passphrase_file: Option<PathBuf>,
}

impl ProviderFactory for LocalProviderFactory {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn open<'a>(
        &'a self,
        config: &'a ProviderConfig,
        folder: &'a Path,
    ) -> RingFuture<'a, Arc<dyn KeyProvider>> {
        Box::pin(ready(open(config, folder)))
    }
}

fn open(config: &ProviderConfig, folder: &Path) -> Result<Arc<dyn KeyProvider>, RingError> {
    let options: LocalOptions = config.options()?;
    let name = config.provider_name().map_err(ConfigError::from)?;
    let variable = config.variable("PHIELD_PASSPHRASE_FILE");
    let configured = options.passphrase_file.map(|file| folder.join(file));
    let (passphrase_file, named_by) = match (std::env::var_os(&variable), configured) {
        (Some(file), _) => (PathBuf::from(file), format!("the variable {variable}")),
        (None, Some(file)) => (file, "configuration".to_owned()),
        (None, None) => return Err(ConfigError::NoPassphraseFile(variable).into()),
    };
    let passphrase = Passphrase::from_file(&passphrase_file)?;
    let key_file = folder.join(options.key_file);
    let file = LocalKeyFile::open(&key_file, &passphrase).map_err(|error| match error {
        RingError::Authentication => RingError::Passphrase {
            key_file,
            passphrase_file,
            named_by,
        },
        other => other,
    })?;
    Ok(Arc::new(LocalProvider::new(&file).with_name(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RingName;
    use crate::record::KeyUse;

    #[test]
    fn a_passphrase_from_a_descriptor() {
        use std::io::{Seek as _, Write as _};
        use std::os::fd::AsRawFd as _;

        let mut file = tempfile::tempfile().unwrap();
        let path = format!("/dev/fd/{}", file.as_raw_fd());
        file.write_all(b"correct horse\n").unwrap();
        file.rewind().unwrap();
        assert_eq!(
            Passphrase::from_file(Path::new(&path)).unwrap().as_bytes(),
            b"correct horse"
        );
        file.write_all(&[b'x'; 5000]).unwrap();
        file.rewind().unwrap();
        assert!(matches!(
            Passphrase::from_file(Path::new(&path)),
            Err(RingError::File(_))
        ));
    }

    /// Only an active key-encryption key wraps; every one that is not destroyed unwraps.
    #[test]
    fn states_of_key_encryption_keys() {
        let context = KeyContext {
            ring: RingName::from_static("dev"),
            key_id: crate::key::KeyId::new(7).unwrap(),
            suite: None,
            key_use: KeyUse::Index,
            scope: None,
            share: None,
        };
        let (key, reference) = (KeyMaterial::random().unwrap(), KekReference::new("1").unwrap());
        let wrapped = wrap::seal(&Kek::new(&[1; 32]), &context.encode(), &key).unwrap();
        for state in [
            KeyState::PreActive,
            KeyState::Active,
            KeyState::DecryptOnly,
            KeyState::Compromised,
            KeyState::Destroyed,
        ] {
            let kek = KekEntry {
                created: 0,
                state,
                key: KeyMaterial::init_with(|k| *k = [1; 32]),
            };
            let provider = LocalProvider::new(&LocalKeyFile {
                keks: BTreeMap::from([(1, kek)]),
            });
            let ready = |done: bool| assert!(done, "{state}");
            let mut context_of = std::task::Context::from_waker(std::task::Waker::noop());
            let sealed = provider
                .wrap(&reference, &context, &key)
                .as_mut()
                .poll(&mut context_of);
            ready(
                matches!(sealed, std::task::Poll::Ready(result) if result.is_ok() == (state == KeyState::Active)),
            );
            let opened = provider
                .unwrap(&reference, &context, &wrapped)
                .as_mut()
                .poll(&mut context_of);
            ready(
                matches!(opened, std::task::Poll::Ready(result) if result.is_ok() == (state != KeyState::Destroyed)),
            );
        }
    }
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Key files with a given salt and nonce, for vectors.

    use super::*;

    /// Id, creation time, state and key.
    #[derive(Debug, PartialEq)]
    pub(crate) struct FixedKek(pub(crate) u32, pub(crate) u64, pub(crate) u8, pub(crate) [u8; 32]);

    pub(crate) fn seal(
        keks: &[FixedKek],
        passphrase: &str,
        stretching: Stretching,
        salt: &[u8; 16],
        nonce: &[u8; 12],
    ) -> Vec<u8> {
        let keks = keks.iter().map(|FixedKek(id, created, state, key)| {
            let key = KeyMaterial::init_with(|k| *k = *key);
            (
                *id,
                KekEntry {
                    created: *created,
                    state: KeyState::from_byte(*state).unwrap(),
                    key,
                },
            )
        });
        let file = LocalKeyFile { keks: keks.collect() };
        file.seal(&Passphrase::new(passphrase.to_owned()), stretching, salt, *nonce)
            .unwrap()
    }

    pub(crate) fn open(file: &[u8], passphrase: &str) -> Result<Vec<FixedKek>, RingError> {
        let file = LocalKeyFile::parse(file, &Passphrase::new(passphrase.to_owned()))?;
        let entry = |(id, kek): (&u32, &KekEntry)| {
            FixedKek(*id, kek.created, kek.state.byte(), *kek.key.expose_bytes())
        };
        Ok(file.keks.iter().map(entry).collect())
    }
}
