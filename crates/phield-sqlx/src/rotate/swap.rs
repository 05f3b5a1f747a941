//! The set-based compare-and-swap: new values in many rows by one statement, where what was read is still there.

use phield_core::PlainValue;

use super::cell::Cell;
use super::database::RotationDatabase;
use crate::backend::Reuse;
use crate::statement::{Statement, quoted, quoted_table};

/// The name of the set of bound values: no table of a user has it.
pub(super) const NEW: &str = "phield_new";
/// Most bytes of one statement.
const STATEMENT_BYTES: usize = 4 << 20;

/// What is compared and swapped, in every row.
#[doc(hidden)]
#[derive(Debug)]
pub struct Swap<'a> {
    pub(super) table: &'a str,
    pub(super) key: &'a [String],
    /// What a row binds after its key: for each value an expression of the table that has its type.
    pub(super) bound: Vec<String>,
    /// The columns that are replaced, each with the expression of its new value.
    pub(super) set: Vec<(&'a str, String)>,
    /// What has to be as it was.
    pub(super) conditions: Vec<String>,
}

/// A row of it.
#[doc(hidden)]
#[derive(Debug)]
pub struct SwapRow {
    pub(crate) key: Vec<Cell>,
    /// In the order of what is bound.
    pub(crate) values: Vec<Value>,
}

/// A value that is bound: its kind is the same in all rows of a statement.
#[doc(hidden)]
#[allow(clippy::exhaustive_enums, reason = "what columns take")]
pub enum Value {
    /// Bytes, or SQL NULL.
    Bytes(Option<Vec<u8>>),
    /// Text, or SQL NULL.
    Text(Option<String>),
    /// What was read, bound as it was.
    Plain(PlainValue<'static>),
}

// On its way out, a value is in the clear.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value(..)")
    }
}

impl<'a> Swap<'a> {
    pub(crate) fn new(table: &'a str, key: &'a [String]) -> Self {
        Self {
            table,
            key,
            bound: Vec::new(),
            set: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// A column of the table, as expressions name it.
    pub(crate) fn column<DB: RotationDatabase>(&self, name: &str) -> String {
        format!("{}.{}", quoted_table::<DB>(self.table), quoted::<DB>(name))
    }

    /// Every row binds one more value, of the type of this expression; how expressions name it.
    pub(crate) fn bind<DB: RotationDatabase>(&mut self, like: String) -> String {
        self.bound.push(like);
        bound_name::<DB>('v', self.bound.len() - 1)
    }

    /// A column is replaced.
    pub(crate) fn set(&mut self, column: &'a str, value: String) {
        self.set.push((column, value));
    }

    /// Only where this is so.
    pub(crate) fn require(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// `k0, …, v0, …`
    #[allow(
        dead_code,
        reason = "used by the databases whose statements name what is bound"
    )]
    pub(super) fn names(&self) -> Vec<String> {
        let keys = (0..self.key.len()).map(|i| short('k', i));
        keys.chain((0..self.bound.len()).map(|i| short('v', i))).collect()
    }

    /// The row with the key of the bound one, as it was.
    pub(super) fn push_condition<DB: RotationDatabase>(&self, statement: &mut Statement<DB>) {
        for (i, key) in self.key.iter().enumerate() {
            statement.push(if i > 0 { " AND " } else { "" });
            let bound = bound_name::<DB>('k', i);
            statement.column(self.table, key).push(" = ").push(bound);
        }
        for condition in &self.conditions {
            statement.push(" AND ").push(condition);
        }
    }

    /// How many of these rows fit one statement.
    fn fitting<DB: RotationDatabase>(&self, rows: &[SwapRow]) -> usize {
        let binds = self.key.len() + self.bound.len();
        let most = DB::SET_ROWS.min(DB::MAX_BINDS / binds.max(1)).max(1);
        let mut size = 0;
        let fits = rows.iter().take(most).take_while(|row| {
            size += row.size();
            size <= STATEMENT_BYTES
        });
        fits.count().max(1)
    }

    /// Writes rows, in as few statements as they fit; how many were as they had been read.
    pub(crate) async fn write<DB: RotationDatabase>(
        &self,
        rows: &[SwapRow],
        connection: &mut DB::Connection,
    ) -> Result<u64, sqlx::Error> {
        let (mut written, mut rest) = (0, rows);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting::<DB>(rest));
            let reuse = if now.len() == DB::SET_ROWS {
                Reuse::Likely
            } else {
                Reuse::Unlikely
            };
            written += DB::execute(DB::compare_and_swap(self, now), reuse, connection).await?;
            rest = later;
        }
        Ok(written)
    }

    /// Writes one row.
    pub(crate) async fn write_one<DB: RotationDatabase>(
        &self,
        row: &SwapRow,
        connection: &mut DB::Connection,
    ) -> Result<u64, sqlx::Error> {
        let statement = DB::compare_and_swap(self, std::slice::from_ref(row));
        DB::execute(statement, Reuse::Likely, connection).await
    }
}

impl SwapRow {
    fn size(&self) -> usize {
        let values = self.values.iter().map(Value::size);
        values.sum::<usize>() + self.key.iter().map(Cell::size).sum::<usize>()
    }

    #[allow(dead_code, reason = "used by the databases whose feature is on")]
    pub(super) fn push<DB: RotationDatabase>(&self, statement: &mut Statement<DB>) {
        for (i, cell) in self.key.iter().enumerate() {
            statement.push(if i > 0 { ", " } else { "" });
            DB::bind_cell(statement, cell);
        }
        for value in &self.values {
            statement.push(", ");
            DB::bind_value(statement, value);
        }
    }
}

impl Value {
    /// A token or an index value, as its column takes it.
    pub(crate) fn stored(is_text: bool, bytes: Vec<u8>) -> Self {
        if is_text {
            Self::Text(Some(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }))
        } else {
            Self::Bytes(Some(bytes))
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(
            self,
            Self::Bytes(None) | Self::Text(None) | Self::Plain(PlainValue::Null)
        )
    }

    /// As bytes, in a set of bytes.
    #[allow(dead_code, reason = "used by the databases whose feature is on")]
    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => bytes.as_deref(),
            Self::Plain(PlainValue::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// As text, in a set of texts.
    #[allow(dead_code, reason = "used by the databases whose feature is on")]
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.as_deref(),
            Self::Plain(PlainValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(1, Vec::len),
            Self::Text(text) => text.as_ref().map_or(1, String::len),
            Self::Plain(PlainValue::Text(text)) => text.len(),
            Self::Plain(PlainValue::Bytes(bytes)) => bytes.len(),
            Self::Plain(_) => 8,
        }
    }
}

/// `k0`, `v0`, …: names of columns that no table of a user has beside them.
pub(super) fn short(kind: char, i: usize) -> String {
    format!("phield_{kind}{i}")
}

/// `phield_new.v0`
fn bound_name<DB: RotationDatabase>(kind: char, i: usize) -> String {
    format!("{}.{}", quoted::<DB>(NEW), quoted::<DB>(&short(kind, i)))
}
