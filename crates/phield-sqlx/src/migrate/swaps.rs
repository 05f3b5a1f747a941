//! What is compared and swapped in a row of a migration, by what it is for.

use super::column::{Migrated, Row};
use super::database::MigrationDatabase;
use super::unseal::ColumnForm;
use crate::rotate::swap::{Swap, Value};

/// Token and index values, where the plaintext is as it was read and there is no token yet.
pub(super) fn seal_swap<DB: MigrationDatabase>(migrated: &Migrated) -> [Swap<'_>; 2] {
    let table = &migrated.table;
    let mut there = Swap::new(&table.sql_table, &table.key);
    let old = there.bind::<DB>(migrated.plaintext_expression::<DB>());
    there.require(migrated.unchanged::<DB>(&old));
    let mut null = Swap::new(&table.sql_table, &table.key);
    let plaintext = migrated.qualified::<DB>(&migrated.plaintext);
    null.require(format!("{plaintext} IS NULL"));
    for swap in [&mut there, &mut null] {
        let sealed = migrated.qualified::<DB>(&migrated.sealed);
        swap.require(format!("{sealed} IS NULL"));
        set_all::<DB>(swap, migrated);
        require_starts::<DB>(swap, migrated);
    }
    [there, null]
}

/// The token and the index values are bound.
pub(super) fn set_all<'a, DB: MigrationDatabase>(swap: &mut Swap<'a>, migrated: &'a Migrated) {
    let indexes = migrated.indexes.iter();
    let indexes = indexes.filter_map(|index| migrated.table.indexes.get(*index));
    let names = indexes.map(|index| index.sql_name.as_str());
    for name in std::iter::once(migrated.sealed.as_str()).chain(names) {
        let new = swap.bind::<DB>(migrated.qualified::<DB>(name));
        swap.set(name, new);
    }
}

/// An index value is one of all its parts: the others have to be those that were read. Their starts are bound.
pub(super) fn require_starts<DB: MigrationDatabase>(swap: &mut Swap<'_>, migrated: &Migrated) {
    let others = migrated.other_parts().into_iter();
    for column in others.filter_map(|part| migrated.table.sealed.get(part)) {
        let name = migrated.qualified::<DB>(&column.sql_name);
        let start = swap.bind::<DB>(name.clone());
        swap.require(format!(
            "substr({name}, 1, {}) {} {start}",
            column.start(),
            DB::IS_SAME
        ));
    }
}

/// The starts of the tokens of the other parts of its indexes.
pub(super) fn starts(migrated: &Migrated, row: &Row) -> Vec<Value> {
    let start = |part: usize| {
        let column = migrated.table.sealed.get(part)?;
        let Some(stored) = row.stored(part) else {
            return Some(if column.is_text {
                Value::Text(None)
            } else {
                Value::Bytes(None)
            });
        };
        let start = stored.get(..column.start()).unwrap_or(stored);
        Some(Value::stored(column.is_text, start.to_vec()))
    };
    migrated.other_parts().into_iter().filter_map(start).collect()
}

/// Something else in a row, where the token is the one that was read.
pub(super) fn token_swap<DB: MigrationDatabase>(migrated: &Migrated) -> Swap<'_> {
    let mut swap = Swap::new(&migrated.table.sql_table, &migrated.table.key);
    let sealed = migrated.qualified::<DB>(&migrated.sealed);
    let old = swap.bind::<DB>(sealed.clone());
    swap.require(format!("{sealed} = {old}"));
    swap
}

/// No token and no index values, where the token is the one that was read, and there still is a plaintext.
pub(super) fn reset_swap<DB: MigrationDatabase>(migrated: &Migrated) -> Swap<'_> {
    let mut swap = token_swap::<DB>(migrated);
    let plaintext = migrated.qualified::<DB>(&migrated.plaintext);
    swap.require(format!("{plaintext} IS NOT NULL"));
    set_all::<DB>(&mut swap, migrated);
    swap
}

/// SQL NULL for the token and every index value.
pub(super) fn nothing(migrated: &Migrated) -> Vec<Value> {
    let token = if migrated.is_text {
        Value::Text(None)
    } else {
        Value::Bytes(None)
    };
    let indexes = migrated.indexes.iter().map(|_| Value::Bytes(None));
    std::iter::once(token).chain(indexes).collect()
}

/// The plaintext, where the token is the one that was read.
pub(super) fn unseal_swap<DB: MigrationDatabase>(
    migrated: &Migrated,
    form: ColumnForm,
    overwrites: bool,
) -> Swap<'_> {
    let mut swap = token_swap::<DB>(migrated);
    let plaintext = migrated.qualified::<DB>(&migrated.plaintext);
    let new = swap.bind::<DB>(plaintext.clone());
    swap.set(
        &migrated.plaintext,
        form.expression(&migrated.plaintext_type, &new),
    );
    if !overwrites {
        swap.require(format!("{plaintext} IS NULL"));
    }
    swap
}

pub(super) fn old_token(migrated: &Migrated, row: &Row) -> Value {
    let stored = row.stored(migrated.position).unwrap_or_default();
    Value::stored(migrated.is_text, stored.to_vec())
}
