//! The set-based compare-and-swap of a page: new values of some columns, where what was read is still there.

use phield_core::PlainValue;

use super::database::MigrationDatabase;
use crate::backend::UpdateForm;
use crate::rotate::Cell;
use crate::statement::{Statement, quoted};

/// The name of the set of new values.
const NEW: &str = "phield_new";

/// A value that is bound: its kind is the same in all rows of a statement.
pub(crate) enum New {
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
    /// What was read, bound as it was.
    Plain(PlainValue<'static>),
}

/// What is swapped, in every row.
pub(crate) struct Swap<'a> {
    pub(crate) table: &'a str,
    pub(crate) key: &'a [String],
    /// The columns that are written, each with the expression of its value; `{new}` stands for the one that is bound.
    pub(crate) set: Vec<(&'a str, String)>,
    /// What must be as it was; `{old}` stands for the value that is bound.
    pub(crate) condition: String,
    /// The expression that has the type of the old value.
    pub(crate) old_type: String,
    pub(crate) is_old_bound: bool,
    /// Columns that stay, and must start as they did: the name, and how many bytes or characters. Their starts are bound.
    pub(crate) parts: Vec<(&'a str, usize)>,
}

/// One row of it.
pub(crate) struct SwapRow {
    pub(crate) key: Vec<Cell>,
    pub(crate) old: New,
    pub(crate) new: Vec<New>,
    pub(crate) parts: Vec<New>,
}

/// `phield_new.k0`
fn new_name<DB: MigrationDatabase>(kind: char, i: usize) -> String {
    format!("{}.{}", quoted::<DB>(NEW), quoted::<DB>(&short(kind, i)))
}

fn short(kind: char, i: usize) -> String {
    format!("phield_{kind}{i}")
}

impl Swap<'_> {
    /// How many values a row binds.
    pub(crate) fn binds(&self) -> usize {
        self.key.len() + self.set.len() + usize::from(self.is_old_bound) + self.parts.len()
    }

    fn names(&self) -> Vec<String> {
        let keys = (0..self.key.len()).map(|i| short('k', i));
        let old = self.is_old_bound.then(|| short('o', 0));
        keys.chain(old)
            .chain((0..self.set.len()).map(|i| short('n', i)))
            .chain((0..self.parts.len()).map(|i| short('p', i)))
            .collect()
    }

    pub(crate) fn statement<DB: MigrationDatabase>(&self, rows: &[SwapRow]) -> Statement<DB> {
        match DB::UPDATE {
            UpdateForm::Join => self.join(rows),
            UpdateForm::From => self.from(rows),
        }
    }

    /// `WITH new (…) AS (VALUES (…), …) UPDATE t SET … FROM new WHERE …`
    fn from<DB: MigrationDatabase>(&self, rows: &[SwapRow]) -> Statement<DB> {
        let mut statement = Statement::new("WITH ");
        statement.name(NEW).push(" (");
        let names = self.names();
        statement.list(names.iter().map(String::as_str), |statement, name| {
            statement.name(name);
        });
        statement.push(") AS (VALUES ");
        for (i, row) in rows.iter().enumerate() {
            statement.push(if i > 0 { ", (" } else { "(" });
            self.push_row(&mut statement, row);
            statement.push(")");
        }
        statement.push(") UPDATE ").table(self.table).push(" SET ");
        for (i, (column, value)) in self.set.iter().enumerate() {
            statement
                .push(if i > 0 { ", " } else { "" })
                .name(column)
                .push(" = ");
            statement.push(value.replace("{new}", &new_name::<DB>('n', i)));
        }
        statement.push(" FROM ").name(NEW).push(" WHERE ");
        self.push_condition(&mut statement);
        statement
    }

    /// `UPDATE (SELECT … UNION ALL SELECT …) AS new STRAIGHT_JOIN t ON … SET …`: the first part has no rows, and the types and
    /// collations of the columns.
    fn join<DB: MigrationDatabase>(&self, rows: &[SwapRow]) -> Statement<DB> {
        let mut statement = Statement::new("UPDATE (SELECT ");
        for (i, key) in self.key.iter().enumerate() {
            statement.push(if i > 0 { ", " } else { "" });
            statement
                .column(self.table, key)
                .push(" AS ")
                .name(&short('k', i));
        }
        if self.is_old_bound {
            statement
                .push(", ")
                .push(&self.old_type)
                .push(" AS ")
                .name(&short('o', 0));
        }
        for (i, (column, _)) in self.set.iter().enumerate() {
            statement
                .push(", ")
                .column(self.table, column)
                .push(" AS ")
                .name(&short('n', i));
        }
        for (i, (column, _)) in self.parts.iter().enumerate() {
            statement
                .push(", ")
                .column(self.table, column)
                .push(" AS ")
                .name(&short('p', i));
        }
        statement.push(" FROM ").table(self.table).push(" WHERE FALSE");
        for row in rows {
            statement.push(" UNION ALL SELECT ");
            self.push_row(&mut statement, row);
        }
        statement
            .push(") AS ")
            .name(NEW)
            .push(" STRAIGHT_JOIN ")
            .table(self.table)
            .push(" ON ");
        self.push_condition(&mut statement);
        statement.push(" SET ");
        for (i, (column, value)) in self.set.iter().enumerate() {
            statement
                .push(if i > 0 { ", " } else { "" })
                .column(self.table, column)
                .push(" = ");
            statement.push(value.replace("{new}", &new_name::<DB>('n', i)));
        }
        statement
    }

    fn push_condition<DB: MigrationDatabase>(&self, statement: &mut Statement<DB>) {
        for (i, key) in self.key.iter().enumerate() {
            statement
                .column(self.table, key)
                .push(" = ")
                .push(new_name::<DB>('k', i))
                .push(" AND ");
        }
        statement.push(self.condition.replace("{old}", &new_name::<DB>('o', 0)));
        for (i, (column, start)) in self.parts.iter().enumerate() {
            statement.push(" AND substr(").column(self.table, column);
            statement
                .push(format_args!(", 1, {start}) {} ", DB::IS_SAME))
                .push(new_name::<DB>('p', i));
        }
    }

    fn push_row<DB: MigrationDatabase>(&self, statement: &mut Statement<DB>, row: &SwapRow) {
        for (i, cell) in row.key.iter().enumerate() {
            statement.push(if i > 0 { ", " } else { "" });
            DB::bind_cell(statement, cell);
        }
        if self.is_old_bound {
            row.old.bind(statement.push(", "));
        }
        for new in row.new.iter().chain(&row.parts) {
            new.bind(statement.push(", "));
        }
    }
}

impl New {
    fn bind<DB: MigrationDatabase>(&self, statement: &mut Statement<DB>) {
        match self {
            Self::Bytes(bytes) => DB::bind_bytes(statement, bytes.as_deref()),
            Self::Text(text) => DB::bind_text(statement, text.as_deref()),
            Self::Plain(PlainValue::Integer(n)) => DB::bind_cell(statement, &Cell::Integer(*n)),
            Self::Plain(PlainValue::Text(text)) => DB::bind_text(statement, Some(text)),
            Self::Plain(PlainValue::Bytes(bytes)) => DB::bind_bytes(statement, Some(bytes)),
            Self::Plain(PlainValue::Null) => DB::bind_text(statement, None),
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

    fn is_null(&self) -> bool {
        matches!(
            self,
            Self::Bytes(None) | Self::Text(None) | Self::Plain(PlainValue::Null)
        )
    }
}

impl SwapRow {
    pub(crate) fn size(&self) -> usize {
        let values = self.new.iter().chain(&self.parts);
        self.old.size() + values.map(New::size).sum::<usize>() + 16 * self.key.len()
    }

    /// Whether the old value is SQL NULL, which no value is equal to.
    pub(crate) fn is_old_null(&self) -> bool {
        self.old.is_null()
    }
}
