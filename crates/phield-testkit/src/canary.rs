//! Looks for plaintext where none may be (R-17): in database files, logs, traces and core dumps.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, BuildError};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};

mod folder;

pub use folder::{FileHit, FolderScan};

/// How many bytes are read at a time.
const CHUNK: usize = 1 << 20;

/// How a value was written down where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// As it is.
    Utf8,
    /// UTF-16, in either byte order.
    Utf16,
    /// Hexadecimal, in lower, upper or mixed case.
    Hex,
    /// Base64, standard or URL alphabet, starting anywhere in the encoded stream.
    Base64,
}

/// A value was found. Says where, never what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Hit {
    /// Which value: its position in the list that the scanner was made of.
    pub needle: usize,
    /// How it was encoded.
    pub encoding: Encoding,
    /// Where it starts, in bytes from the start. Of big-endian UTF-16, where its second byte stands.
    pub offset: u64,
}

/// Searches bytes for many values at once, in one pass.
///
/// Give it values of 5 bytes and more: shorter ones turn up in ciphertext by chance. In text that is itself base64 (a
/// TEXT column of tokens), even 5 bytes do so once in some ten thousand million characters for each value.
///
/// ```
/// use phield_testkit::Scanner;
///
/// let scanner = Scanner::new(["Lovelace", "123-45-6789"]).unwrap();
/// let hits = scanner.scan(b"{\"name\":\"Ada Lovelace\"}");
/// assert_eq!((hits.len(), hits[0].needle, hits[0].offset), (1, 0, 13));
/// assert!(scanner.scan(b"phi1.EQAAAA").is_empty());
/// ```
#[derive(Debug)]
pub struct Scanner {
    /// Patterns that are found byte for byte, and those that are found in either case.
    searches: [Search; 2],
    longest: usize,
}

#[derive(Debug)]
struct Search {
    automaton: AhoCorasick,
    /// Needle and encoding of every pattern.
    patterns: Vec<(usize, Encoding)>,
}

impl Scanner {
    /// A scanner for these values. Empty ones are never found.
    ///
    /// # Errors
    /// When there are more values than fit into one automaton: some thousand million bytes.
    pub fn new<S: AsRef<str>>(needles: impl IntoIterator<Item = S>) -> Result<Self, BuildError> {
        let (mut exact, mut either_case) = (Vec::new(), Vec::new());
        for (needle, value) in needles.into_iter().enumerate() {
            for (encoding, pattern) in encodings(value.as_ref()) {
                let patterns = if encoding == Encoding::Hex {
                    &mut either_case
                } else {
                    &mut exact
                };
                patterns.push(((needle, encoding), pattern));
            }
        }
        let lengths = exact.iter().chain(&either_case).map(|(_, pattern)| pattern.len());
        let longest = lengths.max().unwrap_or(0);
        let searches = [Search::new(exact, false)?, Search::new(either_case, true)?];
        Ok(Self { searches, longest })
    }

    /// Every place where a value stands in these bytes.
    #[must_use]
    pub fn scan(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.scan_from(bytes, 0, 0, &mut hits);
        in_order(hits)
    }

    /// Every place where a value stands in a file. Reads a mebibyte at a time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn scan_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<Hit>> {
        self.scan_reader(File::open(path)?)
    }

    /// Every place where a value stands in what a reader gives.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn scan_reader(&self, mut reader: impl Read) -> io::Result<Vec<Hit>> {
        let overlap = self.longest.saturating_sub(1);
        let (mut hits, mut buffer, mut start) = (Vec::new(), Vec::new(), 0);
        loop {
            let seen = buffer.len();
            let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut buffer)?;
            if read == 0 {
                return Ok(in_order(hits));
            }
            self.scan_from(&buffer, seen, start, &mut hits);
            let done = buffer.len().saturating_sub(overlap);
            buffer.drain(..done);
            start += done as u64;
        }
    }

    /// Hits that end after the first `seen` bytes; `start` is where `bytes` starts.
    fn scan_from(&self, bytes: &[u8], seen: usize, start: u64, hits: &mut Vec<Hit>) {
        for search in &self.searches {
            for found in search.automaton.find_overlapping_iter(bytes) {
                let pattern = search.patterns.get(found.pattern().as_usize());
                let Some(&(needle, encoding)) = pattern.filter(|_| found.end() > seen) else {
                    continue;
                };
                hits.push(Hit {
                    needle,
                    encoding,
                    offset: start + found.start() as u64,
                });
            }
        }
    }
}

impl Search {
    fn new(patterns: Vec<((usize, Encoding), Vec<u8>)>, either_case: bool) -> Result<Self, BuildError> {
        let (patterns, bytes): (Vec<_>, Vec<_>) = patterns.into_iter().unzip();
        // Not the default, a DFA for few patterns: building one takes very long for a long value that repeats itself.
        let automaton = AhoCorasickBuilder::new()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(either_case)
            .build(bytes)?;
        Ok(Self { automaton, patterns })
    }
}

fn in_order(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.offset, hit.needle, hit.encoding));
    hits
}

/// Every way in which a value is looked for, each once.
fn encodings(value: &str) -> BTreeSet<(Encoding, Vec<u8>)> {
    let bytes = value.as_bytes();
    let mut encodings = BTreeSet::from([
        (Encoding::Utf8, bytes.to_vec()),
        (Encoding::Hex, HEXLOWER.encode(bytes).into_bytes()),
    ]);
    encodings.extend(utf16(value).map(|pattern| (Encoding::Utf16, pattern)));
    for alphabet in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
        encodings.extend((0..3).map(|before| (Encoding::Base64, base64_core(alphabet, before, bytes))));
    }
    encodings.retain(|(_, pattern)| !pattern.is_empty());
    encodings
}

/// Both byte orders, from the low byte of the first unit to the low byte of the last. For most values that is one
/// pattern: with the high bytes at the ends, text before or after a value would make it look like both.
fn utf16(value: &str) -> impl Iterator<Item = Vec<u8>> {
    let mut little: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
    little.pop();
    let big = value.encode_utf16().flat_map(u16::to_be_bytes).skip(1).collect();
    [little, big].into_iter()
}

/// The characters that depend on the value alone when `before` other bytes stand in front of it in its group of three,
/// and unknown ones after it.
fn base64_core(alphabet: &data_encoding::Encoding, before: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let text = alphabet.encode(&bytes).into_bytes();
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    text.get(first..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDLES: [&str; 3] = ["Müller-Ångström", "999-12-3456", "Lovelace"];

    #[test]
    fn every_encoding_is_found_at_every_alignment() {
        let scanner = Scanner::new(NEEDLES).unwrap();
        for (needle, value) in NEEDLES.iter().enumerate() {
            for before in 0..7 {
                let text = format!("{}{value}!?", &"xyzxyzx"[..before]);
                let little = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let big = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
                let hex = HEXLOWER.encode(text.as_bytes());
                let mixed = hex.bytes().enumerate().map(|(i, digit)| match i % 3 {
                    0 => digit.to_ascii_uppercase(),
                    _ => digit,
                });
                let encoded = [
                    (Encoding::Utf8, text.clone().into_bytes()),
                    (Encoding::Utf16, little),
                    (Encoding::Utf16, big),
                    (Encoding::Hex, mixed.collect()),
                    (Encoding::Hex, format!("\\x{}", hex.to_uppercase()).into_bytes()),
                    (Encoding::Hex, format!("\\x{hex}").into_bytes()),
                    (
                        Encoding::Base64,
                        BASE64_NOPAD.encode(text.as_bytes()).into_bytes(),
                    ),
                    (
                        Encoding::Base64,
                        BASE64URL_NOPAD.encode(text.as_bytes()).into_bytes(),
                    ),
                ];
                for (encoding, bytes) in encoded {
                    let hits = scanner.scan(&bytes);
                    let [hit] = hits.as_slice() else {
                        panic!("{value} {encoding:?} {before}: {hits:?}")
                    };
                    assert_eq!((hit.needle, hit.encoding), (needle, encoding));
                }
            }
        }
    }

    #[test]
    fn a_value_across_two_reads_is_found_once() {
        let scanner = Scanner::new(NEEDLES).unwrap();
        for shift in 0..=NEEDLES[2].len() {
            let mut bytes = vec![b'.'; CHUNK - shift];
            bytes.extend_from_slice(NEEDLES[2].as_bytes());
            bytes.resize(2 * CHUNK + 5, b'.');
            let expected = vec![Hit {
                needle: 2,
                encoding: Encoding::Utf8,
                offset: u64::try_from(CHUNK - shift).unwrap(),
            }];
            assert_eq!(scanner.scan_reader(bytes.as_slice()).unwrap(), expected);
            assert_eq!(scanner.scan(&bytes), expected);
        }
    }

    #[test]
    fn nothing_is_found_in_noise_or_for_nothing() {
        let scanner = Scanner::new(NEEDLES).unwrap();
        let noise: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        assert_eq!(scanner.scan(&noise), []);
        assert_eq!(Scanner::new(Vec::<String>::new()).unwrap().scan(b"abc"), []);
        assert_eq!(Scanner::new([""]).unwrap().scan(b"abc"), []);
    }

    #[test]
    fn one_value_inside_another_is_found_too() {
        let scanner = Scanner::new(["Love", "Lovelace", "lace"]).unwrap();
        let needles: BTreeSet<_> = scanner
            .scan(b"Ada Lovelace")
            .iter()
            .map(|hit| hit.needle)
            .collect();
        assert_eq!(needles, BTreeSet::from([0, 1, 2]));
    }
}
