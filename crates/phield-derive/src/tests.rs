//! The code that a model expands to is pinned: a change of it shows in a diff, and it stays short.
//!
//! `UPDATE_EXPANSION=1 cargo test -p phield-derive` writes it anew.

use std::fs;
use std::path::Path;

use proc_macro2::{Group, TokenStream, TokenTree};

use crate::derive;

/// A model of ten fields: row id, tenant and eight sealed ones, of which three are indexed.
const MODEL: &str = include_str!("tests/patient.rs");
const EXPANDED: &str = include_str!("tests/patient.expanded.rs");

/// Columns of the table: the fields and the indexes.
const COLUMNS: usize = 13;

/// With a database: what `__with_sqlx!` keeps stands where it stood.
fn expansion(model: &str) -> String {
    let input = syn::parse_str(model).unwrap();
    let expanded = with_database(derive(&input).unwrap());
    prettyplease::unparse(&syn::parse2(expanded).unwrap())
}

fn with_database(tokens: TokenStream) -> TokenStream {
    let mut out: Vec<TokenTree> = Vec::new();
    for token in tokens {
        let TokenTree::Group(group) = token else {
            out.push(token);
            continue;
        };
        let inner = with_database(group.stream());
        // `:: phield :: __with_sqlx !`
        let call = out.len().checked_sub(7).and_then(|at| out.get(at..));
        let call: TokenStream = call.unwrap_or_default().iter().cloned().collect();
        if call.to_string().replace(' ', "") == "::phield::__with_sqlx!" {
            out.truncate(out.len() - 7);
            out.extend(inner);
        } else {
            out.push(TokenTree::Group(Group::new(group.delimiter(), inner)));
        }
    }
    out.into_iter().collect()
}

#[test]
fn the_expansion_is_pinned() {
    let expanded = expansion(MODEL);
    if std::env::var_os("UPDATE_EXPANSION").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/patient.expanded.rs");
        fs::write(file, &expanded).unwrap();
    }
    assert_eq!(
        expanded, EXPANDED,
        "run again with UPDATE_EXPANSION=1 if this is meant"
    );
}

/// Docs included. The methods of fields and indexes are written once, in macros of the facade.
#[test]
fn the_expansion_is_short() {
    let lines = expansion(MODEL).lines().count();
    assert!(lines <= 30 * COLUMNS, "{lines} lines for {COLUMNS} columns");
}

#[test]
fn one_more_field_is_short() {
    let with_one_more = |field: &str| {
        let model = MODEL.trim_end().trim_end_matches('}');
        let more = expansion(&format!("{model} {field} }}")).lines().count();
        more - expansion(MODEL).lines().count()
    };
    let lines = [
        with_one_more("pub ward: String,"),
        with_one_more("pub fax: Phi<String>,"),
        with_one_more("#[phi(index)] pub fax: Phi<String>,"),
    ];
    assert_eq!(lines, [10, 14, 33], "a plain field, a sealed one, an indexed one");
}
