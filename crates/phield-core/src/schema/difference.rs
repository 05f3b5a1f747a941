//! How two descriptions differ, in lines that a person reads.

use std::collections::BTreeSet;

use serde_json::Value;

use super::TableEntry;

/// Lines as `patients.columns.ssn.padding: "block(16)" -> "fixed(32)"`.
pub(super) fn lines(old: &[TableEntry], new: &[TableEntry]) -> Vec<String> {
    let json = |tables| serde_json::to_value(tables).expect("its keys are text");
    let mut lines = Vec::new();
    compare("", &json(old), &json(new), &mut lines);
    lines
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old_fields), Value::Object(new_fields)) => {
            let names: BTreeSet<_> = old_fields.keys().chain(new_fields.keys()).collect();
            for name in names {
                one(
                    &join(path, name),
                    old_fields.get(name),
                    new_fields.get(name),
                    lines,
                );
            }
        }
        (Value::Array(old_items), Value::Array(new_items)) if is_named(old_items) && is_named(new_items) => {
            list(path, old_items, new_items, lines);
        }
        _ if old != new => lines.push(format!("{path}: {old} -> {new}")),
        _ => {}
    }
}

/// Items of a list have names, and are compared by name.
fn list(path: &str, old: &[Value], new: &[Value], lines: &mut Vec<String>) {
    let find = |items: &[Value], name| items.iter().find(|item| self::name(item) == name).cloned();
    let (old_names, new_names): (Vec<_>, Vec<_>) =
        (old.iter().map(name).collect(), new.iter().map(name).collect());
    for name in old_names
        .iter()
        .chain(new_names.iter().filter(|name| !old_names.contains(name)))
    {
        let at = join(path, name.unwrap_or_default());
        one(&at, find(old, *name).as_ref(), find(new, *name).as_ref(), lines);
    }
    let common = |names: &[Option<&str>], others: &[Option<&str>]| -> Vec<String> {
        let both = names.iter().filter(|name| others.contains(name)).flatten();
        both.map(|name| (*name).to_owned()).collect()
    };
    let (was, is) = (common(&old_names, &new_names), common(&new_names, &old_names));
    if was != is {
        let path = if path.is_empty() { "tables" } else { path };
        lines.push(format!(
            "order of {path}: {} -> {}",
            was.join(", "),
            is.join(", ")
        ));
    }
}

fn one(path: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    let show = |value: &Value| {
        if value.is_object() {
            String::new()
        } else {
            format!(": {value}")
        }
    };
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, lines),
        (Some(old), None) => lines.push(format!("{path} is gone{}", show(old))),
        (None, Some(new)) => lines.push(format!("{path} is new{}", show(new))),
        (None, None) => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Whether every item has a name: tables, columns and indexes have.
fn is_named(items: &[Value]) -> bool {
    items.iter().all(|item| name(item).is_some())
}

/// A table by its logical name, a column or index by its name in SQL.
fn name(item: &Value) -> Option<&str> {
    ["table", "sql_name"]
        .iter()
        .find_map(|field| item.get(field)?.as_str())
}
