//! Column handles: one sealed column of one table, typed by its value and by the row's binding.

use std::fmt;
use std::marker::PhantomData;

use crate::context::{ColumnBinding, Row};
use crate::error::{OpenError, SealError, Unsealable};
use crate::frame::Padding;
use crate::name::{ColumnName, TableName};
use crate::phi::Phi;
use crate::row::{Field, RowOpener, Sealer, Token};
use crate::sealed::Storage;
use crate::subject_key::Keys;
use crate::value::Value;

/// A sealed column: opens one value of a row on its own (`Patient::SSN.open(&keyring, &id, &sealed)`).
///
/// `T` is the value's type, `B` what binds its row: the type of the row id, or [`Unbound`](crate::Unbound).
pub struct Column<T, B: ?Sized> {
    table: TableName,
    name: ColumnName,
    padding: Padding,
    _types: PhantomData<fn(&B) -> T>,
}

impl<T, B: ?Sized> Clone for Column<T, B> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            name: self.name.clone(),
            padding: self.padding,
            _types: PhantomData,
        }
    }
}

impl<T, B: ?Sized> fmt::Debug for Column<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({}.{}, {:?})", self.table, self.name, self.padding)
    }
}

impl<T: Value, B: ColumnBinding + ?Sized> Column<T, B> {
    /// The column with this logical name in the table with this logical name.
    ///
    /// # Panics
    /// On a wrong name or padding; in a `const` that is a compile error.
    #[must_use]
    pub const fn new(table: &'static str, name: &'static str, padding: Padding) -> Self {
        assert!(padding.is_valid(), "a padding is of 2 bytes to 18 MiB");
        if let Some(lengths) = T::LENGTHS {
            assert!(
                Padding::hides(lengths, padding),
                "the length of a bool or an enumeration would show: give it a padding that all its values fit"
            );
        }
        Self {
            table: TableName::from_static(table),
            name: ColumnName::from_static(name),
            padding,
            _types: PhantomData,
        }
    }

    pub(crate) fn table(&self) -> &TableName {
        &self.table
    }

    /// The logical name.
    #[must_use]
    pub fn name(&self) -> &ColumnName {
        &self.name
    }

    /// Opens one value of the row with this id.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &self,
        keys: &(impl Keys + ?Sized),
        row: &B,
        sealed: &impl Storage<Value = T>,
    ) -> Result<Phi<T>, OpenError> {
        let row = Row::new(&self.table, row).map_err(|_| OpenError::Authentication)?;
        RowOpener::new(keys, &row)?.open(self, sealed.clone())
    }

    /// Seals one value of the row with this id, under a salt of its own.
    #[doc(hidden)]
    pub fn seal<S: Storage<Value = T>>(
        self,
        keys: &(impl Keys + ?Sized),
        row: &B,
        value: &Phi<T>,
    ) -> Result<S, SealError> {
        let table = self.table.clone();
        let row = Row::new(&table, row)?;
        let [token] = Sealer::new(keys, 1, 1)?.seal_row(&row, [self.field(value)?])?;
        token.required()
    }

    /// As [`seal`](Self::seal), for a column that is SQL NULL when the value is absent.
    #[doc(hidden)]
    pub fn seal_optional<S: Storage<Value = T>>(
        self,
        keys: &(impl Keys + ?Sized),
        row: &B,
        value: Option<&Phi<T>>,
    ) -> Result<Option<S>, SealError> {
        value.map(|value| self.seal(keys, row, value)).transpose()
    }

    /// Seals a list: one token an element, all under one salt, each with its position (from 0, `u32`) as `extra`.
    ///
    /// # Security
    /// An element opens at its own position alone, so elements cannot be exchanged; but nothing binds how many there
    /// are: whoever writes to the database can cut the list short, or put an older element back into its place. Where
    /// that matters, seal the list as one value, [`Json`](crate::Json).
    ///
    /// # Errors
    /// See [`SealError`]; at most 65 536 elements.
    pub fn seal_list<S: Storage<Value = T>>(
        self,
        keys: &(impl Keys + ?Sized),
        row: &B,
        values: &[Phi<T>],
    ) -> Result<Vec<S>, SealError> {
        let positions = (0..values.len()).map(position).collect::<Option<Vec<_>>>();
        let positions = positions.ok_or(SealError::TooManyFields)?;
        let fields = values.iter().zip(&positions).map(|(value, position)| {
            let field = Field::new(self.name.clone(), value)?.with_padding(self.padding);
            Ok(field
                .with_extra(position)
                .of_column(self.table.clone(), B::SUBJECT))
        });
        let fields = fields.collect::<Result<Vec<_>, Unsealable>>()?;
        let row = Row::new(&self.table, row)?;
        let tokens = Sealer::new(keys, 1, fields.len())?.seal_fields(&row, &fields)?;
        tokens.into_iter().map(Token::required).collect()
    }

    /// Opens a list of [`seal_list`](Self::seal_list).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_list<S: Storage<Value = T>>(
        &self,
        keys: &(impl Keys + ?Sized),
        row: &B,
        list: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Phi<T>>, OpenError> {
        let row = Row::new(&self.table, row).map_err(|_| OpenError::Authentication)?;
        let mut opener = RowOpener::new(keys, &row)?;
        let open = |(index, sealed)| {
            let position = position(index).ok_or(OpenError::Authentication)?;
            opener.open_field(&self.name, Some(&position), sealed)
        };
        list.into_iter().enumerate().map(open).collect()
    }

    /// The value of this column as a field of a row that is about to be sealed.
    ///
    /// # Errors
    /// A value outside what the format can hold.
    pub fn field(self, value: &Phi<T>) -> Result<Field<'_>, Unsealable> {
        let field = Field::new(self.name, value)?;
        Ok(field.with_padding(self.padding).of_column(self.table, B::SUBJECT))
    }

    /// The value of this column as a field that is absent (SQL NULL) when there is none.
    ///
    /// # Errors
    /// A value outside what the format can hold.
    pub fn optional_field(self, value: Option<&Phi<T>>) -> Result<Field<'_>, Unsealable> {
        match value {
            Some(value) => self.field(value),
            None => Ok(Field::absent(self.name)),
        }
    }
}

/// The position of a list element as its `extra`.
fn position(index: usize) -> Option<[u8; 4]> {
    u32::try_from(index).ok().map(u32::to_be_bytes)
}
