//! What has to be true of a schema: names that can be written, references that lead somewhere, definitions that seal.

use std::collections::{HashMap, HashSet};

use super::file::{BindingEntry, ColumnEntry, IndexEntry, SchemaFileError, TableEntry};

/// Longest name in SQL, in bytes: what every database takes or says that it does not.
const MAX_SQL_NAME: usize = 128;

/// Checks each table, then that they go together.
pub(super) fn tables(tables: &[TableEntry]) -> Result<(), SchemaFileError> {
    let (mut logical, mut in_sql) = (HashMap::new(), HashMap::new());
    for entry in tables {
        table(entry)?;
        if let Some(first) = logical.insert(&entry.table, entry) {
            return Err(SchemaFileError::Twice {
                table: entry.table.to_string(),
                differences: super::difference::lines(
                    std::slice::from_ref(first),
                    std::slice::from_ref(entry),
                ),
            });
        }
        if let Some(first) = in_sql.insert(entry.sql_table.to_lowercase(), entry) {
            return Err(SchemaFileError::SameSqlTable {
                first: first.table.to_string(),
                second: entry.table.to_string(),
                sql_table: entry.sql_table.clone(),
            });
        }
    }
    Ok(())
}

/// One table by itself.
fn table(entry: &TableEntry) -> Result<(), SchemaFileError> {
    let of_table = |(what, name): Wrong<'_>| SchemaFileError::Table {
        table: entry.table.to_string(),
        what,
        name: name.to_owned(),
    };
    names(entry)
        .and_then(|()| binding(entry))
        .and_then(|()| {
            entry
                .columns
                .iter()
                .try_for_each(|column| self::column(entry, column))
        })
        .and_then(|()| {
            entry
                .indexes
                .iter()
                .try_for_each(|index| self::index(entry, index))
        })
        .map_err(of_table)
}

/// What is wrong, and of what.
type Wrong<'a> = (&'static str, &'a str);

fn ensure<'a>(good: bool, what: &'static str, name: &'a str) -> Result<(), Wrong<'a>> {
    if good { Ok(()) } else { Err((what, name)) }
}

/// Names in SQL are quoted, never escaped.
fn is_sql_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '"' | '`' | '\\');
    (1..=MAX_SQL_NAME).contains(&name.len()) && !name.contains(bad)
}

fn names(entry: &TableEntry) -> Result<(), Wrong<'_>> {
    let parts: Vec<_> = entry.sql_table.split('.').collect();
    let is_table = parts.len() <= 2 && parts.iter().all(|part| is_sql_name(part));
    ensure(is_table, "not the name of a table in SQL", &entry.sql_table)?;
    let mut seen = HashSet::new();
    for column in &entry.columns {
        let name = column.sql_name();
        ensure(is_sql_name(name), "not a name in SQL", name)?;
        // SQL does not tell upper from lower case.
        ensure(seen.insert(name.to_lowercase()), "two columns of one name", name)?;
    }
    let (mut columns, mut indexes) = (HashSet::new(), HashSet::new());
    for column in &entry.columns {
        if let ColumnEntry::Sealed { name, .. } = column {
            ensure(
                columns.insert(name),
                "two columns of one logical name",
                name.as_str(),
            )?;
        }
    }
    for index in &entry.indexes {
        let name = index.name.as_str();
        ensure(indexes.insert(&index.name), "two indexes of one name", name)?;
    }
    Ok(())
}

fn binding(entry: &TableEntry) -> Result<(), Wrong<'_>> {
    if let BindingEntry::RowId(columns) = &entry.binding {
        ensure(
            (1..=16).contains(&columns.len()),
            "a row id is of 1 to 16 columns",
            &entry.sql_table,
        )?;
        let mut seen = HashSet::new();
        for column in columns {
            ensure(seen.insert(column), "a column stands twice in the row id", column)?;
        }
    }
    let bound = entry.binding.row_id().iter();
    for name in bound
        .chain(&entry.tenant)
        .chain(&entry.subject)
        .chain(&entry.extra)
    {
        let is_plain = matches!(entry.column(name), Some(ColumnEntry::Plain { .. }));
        ensure(is_plain, "what binds a row is no plain column of the table", name)?;
    }
    ensure(
        entry.subject.is_some() || !entry.subject_keys,
        "subject keys without a subject",
        &entry.sql_table,
    )
}

fn column<'a>(entry: &'a TableEntry, column: &'a ColumnEntry) -> Result<(), Wrong<'a>> {
    match column {
        ColumnEntry::Plain {
            sql_name,
            rust_type,
            sql_type,
            ..
        } => {
            ensure(is_one_line(rust_type), "not a type in Rust", sql_name)?;
            let is_type = |sql_type: &String| is_one_line(sql_type) && !sql_type.contains([';', '\\']);
            ensure(
                sql_type.as_ref().is_none_or(is_type),
                "not a type in SQL",
                sql_name,
            )
        }
        ColumnEntry::Sealed {
            sql_name, padding, ..
        } => ensure(padding.is_valid(), "not a padding", sql_name),
        ColumnEntry::Index { sql_name, index, .. } => {
            let defined = entry
                .index(index)
                .is_some_and(|index| index.sql_name == *sql_name);
            ensure(defined, "a column of an index that is not defined", sql_name)
        }
    }
}

/// Text without line ends, comments or other control characters.
fn is_one_line(text: &str) -> bool {
    let comment = text.contains("--") || text.contains("/*");
    !text.trim().is_empty() && text.len() <= 1024 && !comment && !text.contains(char::is_control)
}

fn index<'a>(entry: &'a TableEntry, index: &'a IndexEntry) -> Result<(), Wrong<'a>> {
    let name = index.name.as_str();
    let has_column = matches!(
        entry.column(&index.sql_name),
        Some(ColumnEntry::Index { index, .. }) if index.as_str() == name
    );
    ensure(has_column, "an index without its column", name)?;
    ensure(
        (1..=256).contains(&index.bits),
        "an index has 1 to 256 bits",
        name,
    )?;
    ensure(
        index.bits == 256 || !index.unique,
        "only an index of 256 bits is unique",
        name,
    )?;
    ensure(
        !index.columns.is_empty() && index.columns.len() == index.normalizers.len(),
        "an index has one normalizer a column",
        name,
    )?;
    for (part, normalizer) in index.columns.iter().zip(&index.normalizers) {
        let value_type = entry.columns.iter().find_map(|column| match column {
            ColumnEntry::Sealed { name, value_type, .. } if name == part => Some(*value_type),
            _ => None,
        });
        ensure(
            value_type.is_some(),
            "an index over a column that is not there",
            part.as_str(),
        )?;
        ensure(
            value_type.is_some_and(|value_type| normalizer.accepts(value_type)),
            "a normalizer that does not take the values of its column",
            part.as_str(),
        )?;
    }
    Ok(())
}
