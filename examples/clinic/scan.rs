//! The scan: which values of the input can be read in the files of a database.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind};

use crate::Failure;
use crate::fhir::{Record, Resource};

/// Shorter values turn up in random bytes by chance.
const SHORTEST: usize = 5;
/// How many bytes are read at a time.
const CHUNK: u64 = 8 << 20;

/// Searches files for all values at once.
#[derive(Debug)]
pub(crate) struct Scan {
    automaton: AhoCorasick,
    /// The lengths of the values.
    lengths: Vec<usize>,
    /// Which values also stand in text that is readable by design.
    left_out: Vec<bool>,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Found {
    /// How many of the values.
    pub(crate) values: usize,
    /// How many bytes were read.
    pub(crate) bytes: u64,
    /// How many values random bytes of this number would hold.
    pub(crate) by_chance: f64,
}

impl Scan {
    /// Searches for every sealed value of the records, except for those that also stand in `readable`: plain columns
    /// and the text of the schema.
    pub(crate) fn new(records: &[Record], readable: &str) -> Result<Self, Failure> {
        let values = records
            .iter()
            .flat_map(|record| searched_values(&record.resource));
        let values: BTreeSet<Cow<'_, str>> = values.filter(|value| value.len() >= SHORTEST).collect();
        let lengths: Vec<_> = values.iter().map(|value| value.len()).collect();
        // Not the default, a DFA for few values: building one takes hours for a long value that repeats itself.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasickBuilder::new()
            .kind(kind)
            .build(values.iter().map(|value| value.as_bytes()))?;
        let mut left_out = vec![false; lengths.len()];
        mark(&automaton, readable.as_bytes(), &mut left_out);
        Ok(Self {
            automaton,
            lengths,
            left_out,
        })
    }

    /// How many values are searched for.
    pub(crate) fn searched(&self) -> usize {
        self.lengths.len() - self.left_out()
    }

    /// How many values are not searched for.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.iter().filter(|left_out| **left_out).count()
    }

    /// Scans a database file and its write-ahead log.
    pub(crate) fn database(&self, file: &Path) -> io::Result<Found> {
        let mut found = vec![false; self.lengths.len()];
        let mut bytes = self.file(file, &mut found)?;
        let log = write_ahead_log(file);
        if log.exists() {
            bytes += self.file(&log, &mut found)?;
        }
        let counted = || self.left_out.iter().map(|left_out| !left_out);
        let values = counted()
            .zip(found)
            .filter(|(counted, found)| *counted && *found)
            .count();
        let chances = counted().zip(&self.lengths).filter(|(counted, _)| *counted);
        let chances = chances.map(|(_, length)| 256_f64.powf(-(*length as f64)));
        Ok(Found {
            values,
            bytes,
            by_chance: chances.sum::<f64>() * bytes as f64,
        })
    }

    /// Marks the values in a file and returns its length. What is read overlaps by the longest value.
    fn file(&self, path: &Path, found: &mut [bool]) -> io::Result<u64> {
        let overlap = self.lengths.iter().max().map_or(0, |longest| longest - 1);
        let (mut file, mut buffer, mut length) = (File::open(path)?, Vec::new(), 0);
        loop {
            let read = file.by_ref().take(CHUNK).read_to_end(&mut buffer)?;
            if read == 0 {
                return Ok(length);
            }
            length += read as u64;
            mark(&self.automaton, &buffer, found);
            buffer.drain(..buffer.len().saturating_sub(overlap));
        }
    }
}

/// `FILE-wal`
fn write_ahead_log(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Marks every value that stands in `bytes`, inside another one too.
fn mark(automaton: &AhoCorasick, bytes: &[u8], found: &mut [bool]) {
    for value in automaton.find_overlapping_iter(bytes) {
        if let Some(found) = found.get_mut(value.pattern().as_usize()) {
            *found = true;
        }
    }
}

/// The sealed values of a record, each string by itself; the social security number that is indexed as its digits too.
fn searched_values(resource: &Resource) -> impl Iterator<Item = Cow<'_, str>> {
    let digits = |ssn: &str| ssn.chars().filter(char::is_ascii_digit).collect::<String>();
    let as_digits = resource.ssn().map(|ssn| Cow::Owned(digits(ssn.expose())));
    resource
        .sealed_values()
        .map(|value| Cow::Borrowed(value.expose().as_str()))
        .chain(as_digits)
}
