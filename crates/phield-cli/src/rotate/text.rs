//! What the verbs of rotation print.

use std::collections::BTreeMap;

use phield_core::{KeyRecord, Manifest, clean};
use phield_sqlx::rotate::{KeyCount, Quarantined, RotationPlan, RotationStatus};
use serde::Serialize;

use super::replace::state_of;
use super::rows::ModeChoice;
use crate::keys::key_id;
use crate::text::utc;

/// About how many rows a second a plan counts on, until a run has its own rate.
const ROWS_PER_SECOND: u64 = 20_000;

/// The user at this machine.
pub(crate) fn whoami() -> String {
    let user = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let machine = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let user = user.unwrap_or_else(|| "unknown".to_owned());
    match machine.trim() {
        "" => user,
        machine => format!("{user}@{machine}"),
    }
}

/// Why a rotation stands still whose rows other processes have.
pub(crate) fn waits(workers: usize, seconds: u64) -> String {
    format!(
        "Waiting for {}, in other processes: what is left is theirs. One that was killed gives it back within {seconds} s; when no \
         other process runs, --alone takes it at once",
        crate::text::count(workers, "worker")
    )
}

/// A plan.
#[derive(Serialize)]
pub(crate) struct Plan {
    mode: &'static str,
    active_keys: Vec<String>,
    tables: Vec<TableOfPlan>,
    values_to_write: u64,
    /// Under keys that the ring does not have, or of no key at all.
    values_that_do_not_open: u64,
    estimated_seconds: u64,
    next: String,
}

#[derive(Serialize)]
struct TableOfPlan {
    table: String,
    rows: u64,
    page_order: Vec<String>,
    bound: bool,
    keys: Vec<KeyOfPlan>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unique_indexes: Vec<String>,
}

#[derive(Serialize)]
struct KeyOfPlan {
    column: String,
    key: String,
    state: &'static str,
    values: u64,
    #[serde(skip)]
    is_known: bool,
}

impl Plan {
    pub(crate) fn new(mode: ModeChoice, plan: &RotationPlan, manifest: &Manifest) -> Self {
        let is_of_mode = |count: &&KeyCount| {
            let record = record_of(count, manifest);
            record.is_none_or(|record| record.context.key_use == mode.key_use())
        };
        let to_write = plan
            .tables
            .iter()
            .flat_map(|table| table.counts.iter().filter(is_of_mode));
        let old: Vec<_> = to_write
            .filter(|count| !plan.active.contains(&count.key))
            .collect();
        let sum = |known: bool| {
            let counts = old
                .iter()
                .filter(|count| record_of(count, manifest).is_some() == known);
            counts.map(|count| count.count).sum::<u64>()
        };
        let (values_to_write, values_that_do_not_open) = (sum(true), sum(false));
        let rows: u64 = plan.tables.iter().map(|table| table.rows).sum();
        let tables = plan.tables.iter().map(|table| TableOfPlan {
            table: table.table.clone(),
            rows: table.rows,
            page_order: table.key.clone(),
            bound: table.is_bound,
            keys: table
                .counts
                .iter()
                .filter(is_of_mode)
                .map(|count| KeyOfPlan::new(count, manifest))
                .collect(),
            unique_indexes: table.unique_indexes.clone(),
        });
        let mode = mode.mode().as_str();
        let next = if values_to_write == 0 {
            format!(
                "nothing is under another key. To replace the active one: phield rotate run {mode} --replace-key"
            )
        } else {
            format!("phield rotate run {mode}")
        };
        Self {
            mode,
            active_keys: plan.active.clone(),
            tables: tables.collect(),
            values_to_write,
            values_that_do_not_open,
            estimated_seconds: rows.div_ceil(ROWS_PER_SECOND),
            next,
        }
    }

    /// Whether there are values, and none is under a key of the ring.
    pub(crate) fn is_of_another_ring(&self) -> bool {
        let keys = self.tables.iter().flat_map(|table| &table.keys);
        let known: u64 = keys.filter(|key| key.is_known).map(|key| key.values).sum();
        known == 0 && self.values_that_do_not_open > 0
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "Rotation of mode {}; new values are under {}\n",
            self.mode,
            self.active_keys.join(", ")
        );
        for table in &self.tables {
            let unbound = if table.bound { "" } else { "; UNBOUND" };
            text += &format!(
                "\n{}: {} rows, in the order of {}{unbound}\n",
                clean(&table.table),
                table.rows,
                clean(&table.page_order.join(", "))
            );
            for key in &table.keys {
                text += &format!(
                    "  {:<24} key {} ({}): {} values\n",
                    clean(&key.column),
                    clean(&key.key),
                    key.state,
                    key.values
                );
            }
            for index in &table.unique_indexes {
                text += &format!(
                    "  index {index} is unique: it is replaced by a new index, not rotated in place\n"
                );
            }
        }
        if self.values_that_do_not_open > 0 {
            text += &format!(
                "\n{} values are under no key of this ring: they would go into quarantine",
                self.values_that_do_not_open
            );
        }
        text += &format!(
            "\n{} values are to be written, in about {} s at {ROWS_PER_SECOND} rows a second; columns that do not change are not.\nNext: {}",
            self.values_to_write, self.estimated_seconds, self.next
        );
        text
    }
}

/// The key of a count, where the ring has it.
fn record_of<'m>(count: &KeyCount, manifest: &'m Manifest) -> Option<&'m KeyRecord> {
    key_id(&count.key).ok().and_then(|id| manifest.record(id))
}

impl KeyOfPlan {
    fn new(count: &KeyCount, manifest: &Manifest) -> Self {
        let state = match key_id(&count.key) {
            Ok(id) => state_of(manifest, id),
            Err(_) => "no token",
        };
        Self {
            column: count.column.clone(),
            key: count.key.clone(),
            state,
            values: count.count,
            is_known: record_of(count, manifest).is_some(),
        }
    }
}

/// The status of a rotation.
#[derive(Serialize)]
pub(crate) struct Status {
    id: String,
    mode: &'static str,
    state: &'static str,
    who: String,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    pass: i64,
    /// Those that have rows to work on; one that was killed is among them for the seconds of its lease.
    workers: usize,
    tables: Vec<TableOfStatus>,
    quarantined: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct TableOfStatus {
    table: String,
    rows: u64,
    of: u64,
    written: u64,
}

impl Status {
    pub(crate) fn new(status: RotationStatus) -> Self {
        let time = |seconds: i64| utc(u64::try_from(seconds).unwrap_or(0));
        let tables = status.tables.into_iter().map(|table| TableOfStatus {
            table: table.table,
            rows: table.rows,
            of: table.total,
            written: table.changed,
        });
        Self {
            id: status.id,
            mode: status.mode.as_str(),
            state: status.state,
            who: status.who,
            started: time(status.started),
            begins: (status.state == "waiting").then(|| time(status.ready)),
            ended: (status.ended > 0).then(|| time(status.ended)),
            pass: status.pass,
            workers: status.workers,
            tables: tables.collect(),
            quarantined: status.quarantined.iter().map(|noted| noted.count).sum(),
            report: serde_json::from_str(&status.report).ok(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "Rotation {} of mode {}: {}, pass {}; started {} by {}\n",
            clean(&self.id),
            self.mode,
            self.state,
            self.pass,
            self.started,
            clean(&self.who)
        );
        for table in &self.tables {
            text += &format!(
                "  {:<24} {} of {} rows, {} written\n",
                clean(&table.table),
                table.rows,
                table.of,
                table.written
            );
        }
        if self.quarantined > 0 {
            text += &format!(
                "{} values do not open: phield rotate quarantine\n",
                self.quarantined
            );
        }
        let next = match (self.state, &self.begins, &self.ended) {
            ("waiting", Some(begins), _) => format!(
                "It begins at {begins}: until then processes may write under the old key. Then: phield rotate resume"
            ),
            ("cancelled", _, Some(ended)) => {
                format!("It was cancelled at {ended}; another finds what is left: phield rotate run")
            }
            ("paused", ..) => "Go on with it by: phield rotate resume".to_owned(),
            (_, _, Some(ended)) => format!("It ended at {ended}."),
            _ if self.workers > 0 => format!(
                "{} at work, or killed less than 30 s ago. If no process is at it any more, go on with it by: phield rotate resume",
                crate::text::count(self.workers, "worker")
            ),
            _ => "No worker is at it: go on with it by: phield rotate resume".to_owned(),
        };
        text + &next
    }
}

/// Values that do not open.
#[derive(Serialize)]
pub(crate) struct Quarantine {
    /// Whether there are no more than these.
    all: bool,
    values: Vec<ValueOfQuarantine>,
}

#[derive(Serialize)]
struct ValueOfQuarantine {
    table: String,
    column: String,
    reason: String,
    key: String,
    noted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<String>,
}

impl Quarantine {
    pub(crate) fn new(values: &[Quarantined], with_rows: bool, all: bool) -> Self {
        let values = values.iter().map(|value| ValueOfQuarantine {
            table: value.table.clone(),
            column: value.column.clone(),
            reason: value.reason.clone(),
            key: value.key.clone(),
            noted: utc(u64::try_from(value.noted).unwrap_or(0)),
            row: with_rows.then(|| value.row_key.clone()),
        });
        Self {
            all,
            values: values.collect(),
        }
    }

    pub(crate) fn text(&self) -> String {
        if self.values.is_empty() {
            return "Nothing is in quarantine.".to_owned();
        }
        let mut text = String::new();
        for line in self.lines() {
            // Whoever writes to the database writes what is printed here.
            text += &clean(&line);
            text.push('\n');
        }
        if !self.all {
            text += &format!(
                "These are {} of them; there are more: --limit N.\n",
                self.values.len()
            );
        }
        if self.values.iter().any(|value| value.row.is_none()) {
            text += "Which rows: --rows. ";
        }
        text += "unknown-key: restore the ring that has the key. authentication, malformed: put the value back from a backup. \
                 duplicate: two rows have one value where the index allows one; correct or delete one of them. \
                 Then run the rotation again; what is repaired leaves the list.";
        text
    }

    /// A line for each row, or, where rows are not shown, for all values of which there is the same to say.
    fn lines(&self) -> Vec<String> {
        let mut lines: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for value in &self.values {
            let alike = (&value.table, &value.column, &value.row, &value.reason, &value.key);
            lines.entry(alike).or_default().push(&value.noted);
        }
        let mut texts = Vec::new();
        for ((table, column, row, reason, key), mut noted) in lines {
            let row = row.as_deref().map(|row| format!(" row {row}"));
            let row = row.unwrap_or_default();
            let key = if key.is_empty() { "-" } else { key };
            noted.sort_unstable();
            let values = match noted.len() {
                1 => String::new(),
                values => format!("{values} values, "),
            };
            let when = match (noted.first(), noted.last()) {
                (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
                (first, _) => first.copied().unwrap_or_default().to_owned(),
            };
            texts.push(format!(
                "{table}.{column}{row}: {reason} (key {key}), {values}noted {when}"
            ));
        }
        texts
    }
}
