//! One field of a row that is about to be sealed: its identity inside the row, its value, its padding.

use std::fmt;

use crate::binding::BindingUse;
use crate::context::Row;
use crate::error::{SealError, Unsealable};
use crate::frame::{self, Padding};
use crate::name::{ColumnName, TableName};
use crate::phi::Phi;
use crate::value::{Encoded, Value};

/// One field of a row that is about to be sealed.
pub struct Field<'a> {
    /// Where the field comes from a column handle: the handle's table, and what its rows are bound to.
    pub(crate) column_of: Option<(TableName, BindingUse)>,
    pub(crate) column: ColumnName,
    pub(crate) extra: Option<&'a [u8]>,
    pub(crate) padding: Padding,
    pub(crate) value: Option<Encoded<'a>>,
    /// Most bytes of the value, where its column has a size.
    pub(crate) max_len: Option<usize>,
    /// For a type of few values: its shortest and longest value, in bytes.
    pub(crate) lengths: Option<[usize; 2]>,
}

// Its `extra` may name a person.
impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({}, {:?}, {:?})", self.column, self.padding, self.value)
    }
}

impl<'a> Field<'a> {
    /// A value for the column with this logical name, padded to a multiple of 16 bytes.
    ///
    /// # Errors
    /// A value outside what the format can hold.
    pub fn new<T: Value>(column: ColumnName, value: &'a Phi<T>) -> Result<Self, Unsealable> {
        // Refuses a null in a null, when the program is compiled.
        const { _ = T::NULLABLE };
        let value = Some(value.expose().encode()?);
        Ok(Self {
            column_of: None,
            column,
            extra: None,
            padding: Padding::Block16,
            value,
            max_len: None,
            lengths: T::LENGTHS,
        })
    }

    /// A field that has no token: SQL NULL.
    #[must_use]
    pub fn absent(column: ColumnName) -> Self {
        Self {
            column_of: None,
            column,
            extra: None,
            padding: Padding::Block16,
            value: None,
            max_len: None,
            lengths: None,
        }
    }

    /// Another padding.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// The application's own part of the field's identity, at most 1024 bytes: a record revision, a list position.
    /// It is not stored; opening needs the same one.
    #[must_use]
    pub fn with_extra(mut self, extra: &'a [u8]) -> Self {
        self.extra = Some(extra);
        self
    }

    pub(crate) fn with_max_len(mut self, max_len: Option<usize>) -> Self {
        self.max_len = max_len;
        self
    }

    pub(crate) fn of_column(mut self, table: TableName, binding: BindingUse) -> Self {
        self.column_of = Some((table, binding));
        self
    }

    /// Whether the row is one of the table and kind that the field's column is declared for.
    pub(crate) fn belongs_to(&self, row: &Row<'_>) -> Result<(), SealError> {
        match &self.column_of {
            Some((table, _)) if table != row.table() => Err(SealError::WrongTable),
            Some((_, binding)) if *binding != row.binding_use() => Err(SealError::WrongBinding),
            _ => Ok(()),
        }
    }

    /// The length of the padded frame, or why there cannot be one.
    pub(crate) fn padded_len(&self, value_limit: usize) -> Result<usize, Unsealable> {
        if self
            .lengths
            .is_some_and(|lengths| !Padding::hides(lengths, self.padding))
        {
            return Err(Unsealable::LengthShows);
        }
        let len = self.value.as_ref().map_or(0, |value| value.as_bytes().len());
        if self
            .lengths
            .is_some_and(|[shortest, longest]| self.value.is_some() && !(shortest..=longest).contains(&len))
        {
            return Err(Unsealable::LengthShows);
        }
        if len > self.max_len.unwrap_or(value_limit).min(value_limit) {
            return Err(Unsealable::ValueTooLong);
        }
        self.padding.padded_len(frame::unpadded_len(len))
    }

    pub(crate) fn identity(&self) -> (&ColumnName, Option<&[u8]>) {
        (&self.column, self.extra)
    }
}
