//! Structure out of bytes: what is read past the end is zero or empty, so that every input means something.

use std::borrow::Cow;

use uuid::Uuid;

use crate::row_id::RowId;

/// What names are made of.
const NAME_BYTES: &[u8; 66] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
/// Just above the limit of a row id and of `extra`, so that both sides of it are met.
const LONGEST: u16 = 1030;

/// An input that is used up from the front.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.u8()) % end
    }

    pub(super) fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    pub(super) fn choice<'b, T>(&mut self, of: &'b [T]) -> &'b T {
        &of[self.below(of.len())]
    }

    pub(super) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| read(self))
    }

    /// At most `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// A few bytes as they stand; or, behind a length byte of 255, one byte many times: a short input reaches limits.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        match self.u8() {
            255 => {
                let len = usize::from(self.u16() % LONGEST);
                vec![self.u8(); len]
            }
            len => self.take(usize::from(len)).to_vec(),
        }
    }

    pub(super) fn text(&mut self) -> String {
        match String::from_utf8(self.bytes()) {
            Ok(text) => text,
            // Same length, so that the limit stays in reach.
            Err(wrong) => wrong
                .into_bytes()
                .iter()
                .map(|byte| char::from(byte & 0x7f))
                .collect(),
        }
    }

    /// A name of 1 to 128 bytes.
    pub(super) fn name(&mut self) -> String {
        let len = 1 + self.below(128);
        let mut bytes = self.take(len).to_vec();
        bytes.resize(len, 0);
        bytes
            .iter()
            .map(|byte| char::from(NAME_BYTES[usize::from(*byte) % NAME_BYTES.len()]))
            .collect()
    }

    /// A row id of any type: encodable, too long, empty or nested.
    pub(super) fn row_id(&mut self) -> RowId<'static> {
        self.row_id_of(2)
    }

    fn row_id_of(&mut self, depth: usize) -> RowId<'static> {
        match self.u8() % 5 {
            0 => RowId::Integer(i64::from_be_bytes(self.array())),
            1 => RowId::Uuid(Uuid::from_bytes(self.array())),
            2 => RowId::Text(Cow::Owned(self.text())),
            4 if depth > 0 => {
                let parts = self.below(18);
                RowId::Composite((0..parts).map(|_| self.row_id_of(depth - 1)).collect())
            }
            _ => RowId::Bytes(Cow::Owned(self.bytes())),
        }
    }
}
