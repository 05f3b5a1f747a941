//! Column handles: one sealed column of one table, typed by its value and by the row's binding.

use std::fmt;
use std::marker::PhantomData;

use crate::binding::RowBinding;
use crate::context::Row;
use crate::error::{OpenError, OpenRowError, SealError, Unsealable};
use crate::field::Field;
use crate::frame::Padding;
use crate::name::{ColumnName, TableName};
use crate::phi::Phi;
use crate::row::{RowOpener, Sealer, Token};
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
    /// Most bytes of a value, where the column has a size.
    max_len: Option<usize>,
    _types: PhantomData<fn(&B) -> T>,
}

impl<T, B: ?Sized> Clone for Column<T, B> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            name: self.name.clone(),
            padding: self.padding,
            max_len: self.max_len,
            _types: PhantomData,
        }
    }
}

impl<T, B: ?Sized> fmt::Debug for Column<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({}.{}, {:?})", self.table, self.name, self.padding)
    }
}

impl<T: Value, B: RowBinding + ?Sized> Column<T, B> {
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
            max_len: None,
            _types: PhantomData,
        }
    }

    /// The same column for values of at most this many bytes, so that its tokens have a known size. Longer ones are not
    /// sealed.
    #[must_use]
    pub const fn with_max_len(mut self, bytes: u32) -> Self {
        self.max_len = Some(bytes as usize);
        self
    }

    /// The logical name of the table.
    #[must_use]
    pub const fn table(&self) -> &TableName {
        &self.table
    }

    /// The logical name.
    #[must_use]
    pub const fn name(&self) -> &ColumnName {
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
    ) -> Result<Phi<T>, OpenRowError> {
        self.opener(keys, row)?.open_column(self, sealed.clone())
    }

    fn opener<'k>(&self, keys: &'k (impl Keys + ?Sized), row: &B) -> Result<RowOpener<'k>, OpenRowError> {
        RowOpener::of_binding(keys, &self.table, row)
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

    /// The elements of a list have their positions as `extra`: there is no room for another one.
    const fn assert_list() {
        assert!(
            !B::USE.extra,
            "a list in a row with an `extra`: seal it as one value, `Json<Vec<…>>`"
        );
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
        const { Self::assert_list() };
        let positions = (0..values.len()).map(position).collect::<Option<Vec<_>>>();
        let positions = positions.ok_or(SealError::TooManyFields)?;
        let fields = values.iter().zip(&positions).map(|(value, position)| {
            let field = self.clone().field(value)?;
            Ok(field.with_extra(position))
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
    ) -> Result<Vec<Phi<T>>, OpenRowError> {
        const { Self::assert_list() };
        let mut opener = self.opener(keys, row)?;
        let open = |(index, sealed)| {
            let position = position(index).ok_or(OpenError::Authentication);
            let opened = position.and_then(|position| opener.open_field(&self.name, Some(&position), sealed));
            opened.map_err(|cause| opener.located(Some(&self.name), cause))
        };
        list.into_iter().enumerate().map(open).collect()
    }

    /// The value of this column as a field of a row that is about to be sealed.
    ///
    /// # Errors
    /// A value outside what the format can hold.
    pub fn field(self, value: &Phi<T>) -> Result<Field<'_>, Unsealable> {
        let field = Field::new(self.name, value)?
            .with_padding(self.padding)
            .with_max_len(self.max_len);
        Ok(field.of_column(self.table, B::USE))
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
