//! Rows by the schema of their table, without their model: what rotation, scan and migration work with.
//!
//! A value is never decoded here: its frame goes from the old token into the new one as it is, padding and all, so that
//! a row keeps its lengths.

mod plaintext;

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;

use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::context::Row;
use crate::error::{OpenError, SealError, Unsealable};
use crate::frame::Padding;
use crate::key::KeyId;
use crate::keyring::Keyring;
use crate::name::{ColumnName, TableName, TenantName};
use crate::record::KeyUse;
use crate::row::{Frame, Planned, RowOpener, Sealer, Token};
use crate::row_id::RowId;
use crate::schema::{BindingEntry, ColumnEntry, IndexEntry, TableEntry};
use crate::subject_key::Keys;
use crate::token::{self, Suite, TokenInfo};
use crate::value::{Encoded, Opened, ValueType};

pub use plaintext::{PlainValue, PlaintextError};

/// What binds a row to its place, as it was read from the columns that the schema names.
#[derive(Clone, Default)]
#[allow(clippy::exhaustive_structs, reason = "the parts of ROW by name")]
pub struct RowIdentity {
    /// The tenant.
    pub tenant: Option<TenantName>,
    /// The row id; none in an unbound table.
    pub row_id: Option<RowId<'static>>,
    /// The person that the row belongs to.
    pub subject: Option<RowId<'static>>,
    /// What is bound as `extra` into every token of the row.
    pub extra: Option<RowId<'static>>,
}

// Ids may name a person.
impl std::fmt::Debug for RowIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowIdentity").finish_non_exhaustive()
    }
}

/// Why a row was not sealed or indexed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// Nothing can have been sealed with this row id, tenant, subject or `extra`.
    #[error("the identity of the row is none that something can be sealed with")]
    Identity(#[source] Unsealable),
    /// It cannot be sealed now: no row of the table and tenant can.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The new tokens do not open to what was sealed: the machine computes wrongly, or somebody wrote into its memory.
    #[error(
        "a new token does not open to what was sealed: this machine computes wrongly; nothing was written"
    )]
    NotTheSame,
}

/// Why an index value was not computed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReindexError {
    /// A part does not open: the position of its column, and why.
    #[error("a part of the index does not open")]
    Open(usize, #[source] OpenError),
    /// The identity of the row.
    #[error("the identity of the row is none that something can be sealed with")]
    Identity(#[source] Unsealable),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A column of tokens, as the schema has it.
#[derive(Debug, Clone)]
pub struct SealedColumn {
    name: ColumnName,
    value_type: ValueType,
    nullable: bool,
    padding: Padding,
    max_len: Option<usize>,
}

/// The rows of a table, opened, sealed and indexed by its schema.
#[derive(Debug, Clone)]
pub struct TableRows {
    table: TableName,
    keyed: bool,
    columns: Vec<SealedColumn>,
    indexes: Vec<(Index, Vec<usize>)>,
}

impl TableRows {
    /// By the entry of the table in a schema. Columns and indexes keep the order in which they stand there.
    ///
    /// The names of indexed columns are kept until the process ends; make one of these a table, not one a row.
    #[must_use]
    pub fn new(entry: &TableEntry) -> Self {
        let columns: Vec<_> = entry.columns.iter().filter_map(SealedColumn::new).collect();
        let positions: HashMap<_, _> = columns
            .iter()
            .enumerate()
            .map(|(i, column)| (column.name.as_str(), i))
            .collect();
        let index = |index: &IndexEntry| {
            let parts = index.columns.iter();
            let parts = parts.filter_map(|part| positions.get(part.as_str()).copied());
            (definition(&entry.table, index), parts.collect())
        };
        Self {
            table: entry.table.clone(),
            keyed: entry.subject_keys,
            indexes: entry.indexes.iter().map(index).collect(),
            columns,
        }
    }

    /// The table's logical name.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The logical names of the sealed columns; positions in all that follows are positions here.
    pub fn column_names(&self) -> impl Iterator<Item = &ColumnName> {
        self.columns.iter().map(|column| &column.name)
    }

    /// The positions of the columns that an index is made of; none for an index that is not there.
    #[must_use]
    pub fn index_parts(&self, index: usize) -> &[usize] {
        self.indexes.get(index).map_or(&[], |(_, parts)| parts)
    }

    /// The key that new tokens of a tenant's rows are under: data or index; none when none is active.
    #[must_use]
    pub fn active_key(
        &self,
        keys: &(impl Keys + ?Sized),
        key_use: KeyUse,
        tenant: Option<&TenantName>,
    ) -> Option<KeyId> {
        let active = keys.ring_keys().active(key_use, &self.table, tenant);
        active.map(|(id, _)| id)
    }

    /// Seals tokens of one row again, under the active key and with one new salt: opened, sealed, opened again and
    /// compared (I-4). Every token comes back in the order given, or why it does not open; those that do not open are
    /// left out of the new ones, and hinder nothing.
    ///
    /// # Errors
    /// See [`ResealError`].
    pub fn reseal(
        &self,
        sealer: &mut Sealer<'_>,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        tokens: Vec<(usize, Vec<u8>)>,
    ) -> Result<Vec<Result<Vec<u8>, OpenError>>, ResealError> {
        let row = self.row(identity).map_err(ResealError::Identity)?;
        let opened = self.open(keys, &row, tokens);
        let mut sealed: Vec<_> = opened.iter().map(|_| Token::default()).collect();
        let planned = opened
            .iter()
            .zip(&mut sealed)
            .filter_map(|((column, opened), token)| {
                Some(Planned {
                    column: &self.columns.get(*column)?.name,
                    extra: None,
                    frame: Frame::Again(opened.as_ref().ok()?.frame()),
                    token,
                })
            });
        let planned: Vec<_> = planned.collect();
        if !planned.is_empty() {
            sealer.seal_frames(&row, planned)?;
        }
        self.compare(keys, &row, &opened, &sealed)?;
        let tokens = opened.into_iter().zip(sealed);
        let tokens = tokens.map(|((_, opened), token)| {
            opened.and_then(|_| token.into_bytes().ok_or(OpenError::Authentication))
        });
        Ok(tokens.collect())
    }

    /// Opens tokens of one row, and drops what they hold: which of them do not open, and why.
    ///
    /// # Errors
    /// An identity that nothing can have been sealed with.
    pub fn check(
        &self,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        tokens: Vec<(usize, Vec<u8>)>,
    ) -> Result<Vec<Result<(), OpenError>>, Unsealable> {
        let row = self.row(identity)?;
        let opened = self.open(keys, &row, tokens).into_iter();
        Ok(opened.map(|(_, opened)| opened.map(drop)).collect())
    }

    /// The index value of a row under the active pepper, from the tokens of its parts in their order; none when a part
    /// is absent or an encrypted null.
    ///
    /// # Errors
    /// See [`ReindexError`].
    pub async fn index_value(
        &self,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        index: usize,
        parts: Vec<Option<Vec<u8>>>,
    ) -> Result<Option<BlindIndex>, ReindexError> {
        let Some((definition, positions)) = self.indexes.get(index) else {
            return Err(IndexError::WrongParts.into());
        };
        let row = self.row(identity).map_err(ReindexError::Identity)?;
        let mut values: Vec<Option<Opened>> = Vec::with_capacity(parts.len());
        for (position, token) in positions.iter().zip(parts) {
            let opened = token.map(|token| self.open(keys, &row, vec![(*position, token)]));
            let opened = opened.into_iter().flatten().map(|(_, opened)| opened).next();
            values.push(
                opened
                    .transpose()
                    .map_err(|error| ReindexError::Open(*position, error))?,
            );
        }
        let parts: Vec<_> = values
            .iter()
            .map(|value| {
                let value = value.as_ref()?;
                Some(Encoded::borrowed(value.value_type(), value.as_bytes()))
            })
            .collect();
        let keyring: &Keyring = keys.ring_keys();
        Ok(keyring
            .blind_index_async(definition, identity.tenant.as_ref(), &parts)
            .await?)
    }

    fn row<'a>(&'a self, identity: &'a RowIdentity) -> Result<Row<'a>, Unsealable> {
        Row::of_identity(&self.table, identity, self.keyed)
    }

    /// Opens tokens; what a token holds must be what the schema says of its column.
    fn open(
        &self,
        keys: &(impl Keys + ?Sized),
        row: &Row<'_>,
        tokens: Vec<(usize, Vec<u8>)>,
    ) -> Vec<(usize, Result<Opened, OpenError>)> {
        let mut opener = RowOpener::new(keys, row);
        let mut open = |column: usize, token| {
            let opener = opener.as_mut().map_err(|error| *error)?;
            let column = self.columns.get(column).ok_or(OpenError::Authentication)?;
            let opened = opener.open_token(&column.name, None, token)?;
            let is_null = column.nullable && opened.value_type() == ValueType::Null;
            if (opened.value_type() == column.value_type || is_null) && opened.is_well_formed() {
                Ok(opened)
            } else {
                Err(OpenError::Authentication)
            }
        };
        let opened = tokens.into_iter();
        opened
            .map(|(column, token)| (column, open(column, token)))
            .collect()
    }

    fn compare(
        &self,
        keys: &(impl Keys + ?Sized),
        row: &Row<'_>,
        opened: &[(usize, Result<Opened, OpenError>)],
        sealed: &[Token],
    ) -> Result<(), ResealError> {
        let both = opened.iter().zip(sealed).filter_map(|((column, opened), token)| {
            Some((*column, opened.as_ref().ok()?, token.as_bytes()?.to_vec()))
        });
        let (frames, tokens): (Vec<_>, Vec<_>) = both
            .map(|(column, opened, token)| (opened.frame(), (column, token)))
            .unzip();
        let again = self.open(keys, row, tokens);
        let same = frames
            .iter()
            .zip(&again)
            .all(|(frame, (_, again))| again.as_ref().is_ok_and(|again| again.frame() == *frame));
        same.then_some(()).ok_or(ResealError::NotTheSame)
    }
}

impl SealedColumn {
    fn new(entry: &ColumnEntry) -> Option<Self> {
        let ColumnEntry::Sealed {
            name,
            value_type,
            encrypted_null,
            padding,
            max_len,
            ..
        } = entry
        else {
            return None;
        };
        Some(Self {
            name: name.clone(),
            value_type: *value_type,
            nullable: *encrypted_null,
            padding: *padding,
            max_len: max_len.map(|len| len as usize),
        })
    }
}

/// The definition of an index. Its column names live as long as the process, as those of a model do.
fn definition(table: &TableName, entry: &IndexEntry) -> Index {
    let columns: Vec<&'static str> = entry
        .columns
        .iter()
        .map(|name| &*Box::leak(name.as_str().to_owned().into_boxed_str()))
        .collect();
    Index::of_names(
        table.clone(),
        entry.name.clone(),
        Box::leak(columns.into_boxed_slice()),
        Box::leak(entry.normalizers.clone().into_boxed_slice()),
        entry.bits,
    )
    .with_algorithm(entry.algorithm)
}

/// The key of what stands in a column: of a token in binary or text form. None when it is no token.
#[must_use]
pub fn key_of_token(token: &[u8]) -> Option<KeyId> {
    TokenInfo::parse(token).ok().map(|info| info.key_id)
}

/// The bytes of a token in text form.
///
/// # Errors
/// [`OpenError::Malformed`] when it is none.
pub fn token_of_text(text: &[u8]) -> Result<Vec<u8>, OpenError> {
    let text = std::str::from_utf8(text).map_err(|_| OpenError::Malformed)?;
    token::from_text(text)
}

/// The text form of a token.
#[must_use]
pub fn text_of_token(token: &[u8]) -> String {
    token::to_text(token)
}

/// The key of a token or an index value, of its first bytes: 5 of a token, 13 of one in text form.
#[must_use]
pub fn key_of_token_start(start: &[u8]) -> Option<KeyId> {
    let decoded;
    let bytes = match start.strip_prefix(token::TEXT_PREFIX.as_bytes()) {
        Some(text) => {
            decoded = BASE64URL_NOPAD.decode(text.get(..8)?).ok()?;
            decoded.as_slice()
        }
        None => start,
    };
    let (suite, id) = bytes.split_first()?;
    Suite::from_byte(*suite)?;
    KeyId::from_bytes(*id.first_chunk()?)
}

impl TableEntry {
    /// Whether something binds its rows to their places.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        matches!(self.binding, BindingEntry::RowId(_))
    }
}
