//! `phield inspect`: everything visible in a token, nothing more.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use phield_core::config::Config;
use phield_core::{KeyId, TokenInfo};
use serde::Serialize;

use crate::keys::KeyListing;
use crate::text::table;
use crate::{Error, Host};

/// Longest input that is read: the text or hex form of the longest token.
const MAX_INPUT: u64 = 40 << 20;

/// Arguments of `phield inspect`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct InspectArguments {
    /// The token: its text form (phi1.…) or its bytes in hex; - reads it from standard input
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: String,
    /// Look the key up in the ring of this configuration
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Everything visible in a token.
#[derive(Serialize)]
struct Visible {
    suite: String,
    key_id: String,
    row_salt: String,
    padded_len: usize,
    /// What the ring says of the key, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
}

/// The key in the ring.
#[derive(Serialize)]
#[serde(untagged)]
enum Key {
    Found(Box<KeyListing>),
    /// `null` in JSON.
    NotInRing,
}

pub(crate) async fn run(arguments: &InspectArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let input = match arguments.token.as_str() {
        "-" => read_input()?,
        token => token.as_bytes().to_vec(),
    };
    let info = TokenInfo::parse(&decode(input)).map_err(Error::Token)?;
    let key = match &arguments.config {
        Some(config) => Some(find_key(config, info.key_id, host).await?),
        None => None,
    };
    let visible = Visible {
        suite: info.suite.to_string(),
        key_id: info.key_id.to_string(),
        row_salt: HEXLOWER.encode(&info.row_salt),
        padded_len: info.padded_len,
        key,
    };
    if arguments.json {
        return host.print_json(&visible);
    }
    host.print(table(&visible.rows()))
}

impl Visible {
    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = vec![
            ["suite", self.suite.as_str()],
            ["key id", self.key_id.as_str()],
            ["row salt", self.row_salt.as_str()],
        ];
        let padded_len = format!("{} bytes", self.padded_len);
        rows.push(["padded length", &padded_len]);
        match &self.key {
            None => {}
            Some(Key::NotInRing) => rows.push(["key", "not in this ring"]),
            Some(Key::Found(key)) => rows.extend([
                ["key use", key.key_use],
                ["key scope", key.scope.as_deref().unwrap_or("-")],
                ["key state", key.state],
                ["key created", &key.created],
                ["key not after", key.not_after.as_deref().unwrap_or("-")],
            ]),
        }
        rows.into_iter().map(|row| row.map(str::to_owned)).collect()
    }
}

fn read_input() -> Result<Vec<u8>, Error> {
    let mut input = Vec::new();
    std::io::stdin()
        .take(MAX_INPUT)
        .read_to_end(&mut input)
        .map_err(Error::Input)?;
    Ok(input)
}

/// Hex (also as databases print it, `\x…` and `0x…`) to bytes; the text form without the line end; anything else as it
/// is. No token starts with a hex digit, so that there is nothing to confuse.
fn decode(input: Vec<u8>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&input) else {
        return input;
    };
    let text = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let digits = text
        .strip_prefix("\\x")
        .or_else(|| text.strip_prefix("0x"))
        .unwrap_or(text);
    if text.starts_with("phi1.") {
        return text.as_bytes().to_vec();
    }
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).unwrap_or(input)
}

async fn find_key(config: &Path, id: KeyId, host: &Host<'_>) -> Result<Key, Error> {
    let verified = Config::read(config)?.ring(host.backends()).await?.load().await?;
    let record = verified.manifest().record(id);
    Ok(record.map_or(Key::NotInRing, |record| {
        Key::Found(Box::new(KeyListing::new(record)))
    }))
}
