//! The JSON of a message. Nothing in it is secret; nothing of it is repeated in an error either.

use std::borrow::Cow;

use data_encoding::BASE64;
use serde::Deserialize;

use super::RailsError;

/// What surrounds the body: iv, tag, the data key of an envelope.
const HEADERS: usize = 4 << 10;

/// A message: the body, encrypted, and its header.
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    pub(super) header: Header,
}

pub(super) struct Header {
    pub(super) iv: [u8; 12],
    pub(super) tag: [u8; 16],
    pub(super) compressed: bool,
    pub(super) encoding: Encoding,
    /// The key of this message, in a message under one of the application's.
    pub(super) data_key: Option<Box<Message>>,
}

/// What Ruby says of the text; UTF-8 where it says nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, US-ASCII, or bytes that may be either.
    Utf8,
    Latin1,
    /// Bytes of an encoding that is not read here; a binary attribute has them as they are.
    Other,
}

#[derive(Deserialize)]
struct Written<'m> {
    #[serde(borrow)]
    p: Cow<'m, str>,
    #[serde(borrow)]
    h: WrittenHeader<'m>,
}

/// Other headers (`i`, the id of a key, and an application's own) say nothing that is needed: every key is tried.
#[derive(Deserialize)]
struct WrittenHeader<'m> {
    #[serde(borrow)]
    iv: Cow<'m, str>,
    #[serde(borrow)]
    at: Cow<'m, str>,
    #[serde(default)]
    c: bool,
    #[serde(borrow, default)]
    e: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    k: Option<Box<Written<'m>>>,
}

impl Message {
    /// Reads a message whose value has at most `limit` bytes.
    pub(super) fn parse(text: &str, limit: usize) -> Result<Self, RailsError> {
        // zlib makes the worst input longer by 5 bytes in every 16 KiB, base64 by a third.
        let longest = limit.saturating_add(limit / 1024).saturating_add(HEADERS);
        if text.len() > longest.saturating_mul(2) {
            return Err(RailsError::TooLarge);
        }
        let written: Written<'_> = serde_json::from_str(text).map_err(|_| RailsError::NotAMessage)?;
        Self::decode(written, true)
    }

    fn decode(written: Written<'_>, may_nest: bool) -> Result<Self, RailsError> {
        let header = written.h;
        let data_key = match header.k {
            Some(_) if !may_nest => return Err(RailsError::NotAMessage),
            Some(wrap) => Some(Box::new(Self::decode(*wrap, false)?)),
            None => None,
        };
        let encoding = header.e.map(|name| decode(&name)).transpose()?;
        Ok(Self {
            body: decode(&written.p)?,
            header: Header {
                iv: exactly(&header.iv)?,
                tag: exactly(&header.at)?,
                compressed: header.c,
                encoding: Encoding::named(encoding.as_deref()),
                data_key,
            },
        })
    }
}

impl Encoding {
    fn named(name: Option<&[u8]>) -> Self {
        match name {
            None | Some(b"UTF-8" | b"US-ASCII" | b"ASCII-8BIT" | b"BINARY") => Self::Utf8,
            Some(b"ISO-8859-1") => Self::Latin1,
            Some(_) => Self::Other,
        }
    }
}

fn decode(base64: &str) -> Result<Vec<u8>, RailsError> {
    let decoded = BASE64.decode(base64.as_bytes());
    decoded.map_err(|_| RailsError::NotAMessage)
}

fn exactly<const N: usize>(base64: &str) -> Result<[u8; N], RailsError> {
    let decoded = decode(base64)?;
    decoded.try_into().map_err(|_| RailsError::NotAMessage)
}
