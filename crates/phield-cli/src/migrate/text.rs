//! What `phield migrate` prints.

use phield_sqlx::migrate::{MigrationPlan, MigrationRecord, Step, Unsealed};
use serde::Serialize;

use super::job::Outcome;
use crate::text::utc;

/// What was found or done.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Listing {
    Plan(Plan),
    Migration(Migration),
    Migrations {
        migrations: Vec<Migration>,
    },
    Gone {
        table: String,
        column: String,
        step: Option<()>,
    },
    Unsealed(Counts),
}

#[derive(Serialize)]
pub(super) struct Plan {
    table: String,
    column: String,
    step: Option<&'static str>,
    rows: u64,
    left: u64,
    is_plaintext_nullable: bool,
    add: Vec<String>,
    drop: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Migration {
    table: String,
    column: String,
    plaintext_column: String,
    source: String,
    step: Option<&'static str>,
    who: String,
    since: String,
    sealed: u64,
    left: Option<u64>,
    next: &'static str,
}

#[derive(Serialize)]
pub(super) struct Counts {
    table: String,
    column: String,
    rows: u64,
    written: u64,
    unreadable: u64,
    differing: u64,
}

impl Listing {
    pub(super) fn new([table, column]: [&str; 2], outcome: &Outcome) -> Self {
        let (table, column) = (table.to_owned(), column.to_owned());
        match outcome {
            Outcome::Plan(plan) => Self::Plan(Plan::new(table, column, plan)),
            Outcome::Step(record) => Self::Migration(Migration::new(record)),
            Outcome::Gone => Self::Gone {
                table,
                column,
                step: None,
            },
            Outcome::Status(records) => Self::Migrations {
                migrations: records.iter().map(Migration::new).collect(),
            },
            Outcome::Unsealed(done) => Self::Unsealed(Counts::new(table, column, done)),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Plan(plan) => plan.text(),
            Self::Migration(migration) => migration.text(),
            Self::Migrations { migrations } if migrations.is_empty() => {
                "No migration in this database.".to_owned()
            }
            Self::Migrations { migrations } => migrations
                .iter()
                .map(Migration::text)
                .collect::<Vec<_>>()
                .join("\n\n"),
            Self::Gone { table, column, .. } => {
                format!(
                    "The migration of {table}.{column} is taken back: its column of tokens is gone, the plaintext stands as it was."
                )
            }
            Self::Unsealed(counts) => counts.text(),
        }
    }
}

impl Plan {
    fn new(table: String, column: String, plan: &MigrationPlan) -> Self {
        Self {
            table,
            column,
            step: plan.step.map(Step::as_str),
            rows: plan.rows,
            left: plan.left,
            is_plaintext_nullable: plan.is_plaintext_nullable,
            add: plan.add.clone(),
            drop: plan.drop.clone(),
        }
    }

    fn text(&self) -> String {
        let statements = |statements: &[String]| match statements {
            [] => "  (nothing)".to_owned(),
            statements => statements
                .iter()
                .map(|sql| format!("  {sql}"))
                .collect::<Vec<_>>()
                .join("\n"),
        };
        let mut text = format!(
            "{}.{}: {} rows, {} of them without a token; {}\n\nadd runs\n{}\nbackfill seals the rows page by page\ncutover changes no row\n\
             drop runs\n{}",
            self.table,
            self.column,
            self.rows,
            self.left,
            self.step
                .map_or_else(|| "not begun".to_owned(), |step| format!("at step {step}")),
            statements(&self.add),
            statements(&self.drop),
        );
        if !self.is_plaintext_nullable {
            text += "\n\nThe column of the plaintext is NOT NULL: make it nullable before the cutover.";
        }
        text
    }
}

impl Migration {
    fn new(record: &MigrationRecord) -> Self {
        Self {
            table: record.table.clone(),
            column: record.column.clone(),
            plaintext_column: record.plaintext_column.clone(),
            source: record.source.clone(),
            step: record.step.map(Step::as_str),
            who: record.who.clone(),
            since: u64::try_from(record.since).map_or_else(|_| String::new(), utc),
            sealed: record.sealed,
            left: record.left,
            next: next(record),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}.{} from {} ({}): at step {} since {}, by {}",
            self.table,
            self.column,
            self.plaintext_column,
            self.source,
            self.step.unwrap_or("(unknown)"),
            self.since,
            self.who
        );
        text += &format!("\n{} rows sealed", self.sealed);
        if let Some(left) = self.left {
            text += &format!(", {left} left");
        }
        text += &format!("\nNext: {}", self.next);
        text
    }
}

/// What to do next.
fn next(record: &MigrationRecord) -> &'static str {
    match (record.step, record.left) {
        (None, _) => "this version does not know the step: until it is put right no plaintext is read",
        (Some(Step::Add), Some(1..)) => {
            "the rows that are left are in the quarantine (`phield rotate quarantine`): repair them, then backfill again"
        }
        (Some(Step::Add), _) => {
            "let every process that writes the column write both and read through MixedTime; then `phield migrate backfill`"
        }
        (Some(Step::Backfill), _) => {
            "when no process of the old version runs any more, `phield migrate cutover --dual-writes-on`"
        }
        (Some(Step::Cutover), _) => {
            "take MixedTime out of the application; then `phield migrate drop`, or `phield migrate revert` to go back"
        }
        (Some(Step::Drop), _) => "nothing: the plaintext is gone. Backups of before still hold it",
    }
}

impl Counts {
    fn new(table: String, column: String, done: &Unsealed) -> Self {
        Self {
            table,
            column,
            rows: done.rows,
            written: done.written,
            unreadable: done.unreadable,
            differing: done.differing,
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}.{}: {} rows with a token; the plaintext of {} was written, the others had it.",
            self.table, self.column, self.rows, self.written
        );
        if self.unreadable > 0 {
            text += &format!(
                "\n{} tokens do not open: they are in the quarantine (`phield rotate quarantine`), and their plaintext is as it was.",
                self.unreadable
            );
        }
        if self.differing > 0 {
            text += &format!(
                "\n{} rows do not hold what was written into them: the column cuts off, or rounds, or somebody wrote meanwhile. They are in \
                 the quarantine (`phield rotate quarantine`); the tokens are as they were. Make a column that takes the values as they are.",
                self.differing
            );
        }
        text
    }
}
