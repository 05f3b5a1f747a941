//! The end of a rotation: the signed coverage report.

use std::io::Write as _;
use std::path::Path;

use phield_core::{
    ColumnEntry, CoverageMode, CoverageReport, CoveredKind, KeyId, KeyUse, QuarantineReason, SignedCoverage,
    TableEntry, VerifiedRing, clean,
};
use phield_sqlx::rotate::{KeyCount, Mode, RotationStatus, TableProgress, Unregistered};

use super::rows::Context;
use crate::Error;

/// The report of a rotation that is done, under the MAC of the ring key.
pub(crate) async fn sign(
    context: &Context,
    status: &RotationStatus,
    unregistered: &Unregistered,
) -> Result<SignedCoverage, Error> {
    let verified = context.ring.load().await?;
    let report = report(context, &verified, status, unregistered);
    Ok(verified.sign_coverage(report)?)
}

fn seconds(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

fn report(
    context: &Context,
    verified: &VerifiedRing,
    status: &RotationStatus,
    unregistered: &Unregistered,
) -> CoverageReport {
    let mode = match status.mode {
        Mode::Data => CoverageMode::Data,
        Mode::Pepper => CoverageMode::Pepper,
        Mode::Index => CoverageMode::Migrate,
        Mode::Verify => CoverageMode::Verify,
        Mode::Scan => CoverageMode::Scan,
    };
    let cache = &context.ring.settings.cache;
    let place = (context.database.place(), status.who.clone());
    let counted = if status.counting_since > 0 {
        status.counting_since
    } else {
        status.started
    };
    let mut report = CoverageReport::new(verified, cache, mode, place, seconds(counted));
    (report.started, report.ended) = (seconds(status.started), seconds(status.ended));
    report.epoch_start = seconds(status.epoch);
    // The states of keys are those of now: of the whole count only when the ring did not change meanwhile.
    let entries = context.schema.tables();
    let of_all = entries.iter().all(|entry| {
        status
            .tables
            .iter()
            .any(|table| table.table == entry.table.as_str())
    });
    let is_short = status.tables.iter().any(TableProgress::is_short);
    report.complete = of_all
        && !is_short
        && !status.has_wrong_clock()
        && !status.open_writers
        && report.epoch_start == report.epoch_end;
    // A column without rows was counted, too.
    for entry in entries.iter().filter(|entry| {
        status
            .tables
            .iter()
            .any(|table| table.table == entry.table.as_str())
    }) {
        for column in &entry.columns {
            let (name, kind) = match column {
                ColumnEntry::Sealed { sql_name, .. } => (sql_name, CoveredKind::Token),
                ColumnEntry::Index { sql_name, .. } => (sql_name, CoveredKind::Index),
                _ => continue,
            };
            report.column_mut(&sql_table(entry, unregistered), name, kind);
        }
    }
    // A pass that only opens counts what it opens.
    let counted = if status.mode == Mode::Verify {
        "before"
    } else {
        "after"
    };
    for count in &status.counts {
        let (table, kind) = place_of((context, unregistered), &count.table, &count.column);
        let column = report.column_mut(&table, &count.column, kind);
        match (count.phase.as_str(), key_id(&count.key)) {
            // Under which key it is cannot be told: it has to be acknowledged by number, as what does not open is.
            (phase, None) if phase == counted => {
                let noted = noted_without_key(status, count);
                let rows = count.count.saturating_sub(noted);
                column.add_quarantined(QuarantineReason::Malformed, None, rows);
            }
            (_, None) => {}
            ("shredded", Some(id)) => column.key_mut(id).shredded += count.count,
            ("compromised", Some(id)) => column.key_mut(id).compromised += count.count,
            (phase, Some(id)) if phase == counted => column.key_mut(id).after += count.count,
            ("before", Some(id)) => *column.key_mut(id).before.get_or_insert(0) += count.count,
            // What the count saw under an old key and found in quarantine.
            (reason, id) => column.add_quarantined(reason_of(reason), id, count.count),
        }
    }
    for noted in &status.quarantined {
        let id = key_id(&noted.key);
        // Of values under old keys the count has said how many of them are still there.
        let (table, kind) = place_of((context, unregistered), &noted.table, &noted.column);
        let is_counted = status.mode != Mode::Verify && id.is_some_and(|id| is_old(verified, (id, kind)));
        if is_counted {
            continue;
        }
        let column = report.column_mut(&table, &noted.column, kind);
        column.add_quarantined(reason_of(&noted.reason), id, noted.count);
        if let (Mode::Verify, Some(id)) = (status.mode, id) {
            let key = column.key_mut(id);
            key.after = key.after.saturating_sub(noted.count);
        }
    }
    if status.mode == Mode::Verify {
        for key in report.columns.iter_mut().flat_map(|column| &mut column.keys) {
            key.after = key.after.saturating_sub(key.shredded);
        }
    }
    let names = unregistered
        .columns
        .iter()
        .map(|column| format!("{}.{}", column.table, column.column));
    report.unregistered = names.collect();
    report
}

fn reason_of(text: &str) -> QuarantineReason {
    match text {
        "authentication" => QuarantineReason::Authentication,
        "malformed" => QuarantineReason::Malformed,
        "duplicate" => QuarantineReason::Duplicate,
        _ => QuarantineReason::UnknownKey,
    }
}

/// Whether new values of a kind are under another key than this one.
fn is_old(verified: &VerifiedRing, (id, kind): (KeyId, CoveredKind)) -> bool {
    let key_use = match kind {
        CoveredKind::Index => KeyUse::Index,
        _ => KeyUse::Data,
    };
    let record = verified.manifest().record(id);
    record.is_none_or(|record| record.context.key_use != key_use || !record.state.is_current())
}

/// How many values of a count's column are in quarantine without a key.
fn noted_without_key(status: &RotationStatus, count: &KeyCount) -> u64 {
    let noted = status.quarantined.iter();
    let noted = noted
        .filter(|noted| noted.table == count.table && noted.column == count.column && noted.key.is_empty());
    noted.map(|noted| noted.count).sum()
}

/// Where a table is that was counted: a name without a schema is one of several where the search path changes.
fn sql_table(entry: &TableEntry, unregistered: &Unregistered) -> String {
    let mut registered = unregistered.registered.iter();
    let found = registered.find(|table| table.table == entry.table.as_str());
    found.map_or_else(|| entry.sql_table.clone(), |table| table.sql_table.clone())
}

/// A table by its name in SQL, and what its column holds.
fn place_of(
    (context, unregistered): (&Context, &Unregistered),
    table: &str,
    column: &str,
) -> (String, CoveredKind) {
    let entry = context
        .schema
        .tables()
        .iter()
        .find(|entry| entry.table.as_str() == table);
    let is_index = entry.is_some_and(|entry| entry.indexes.iter().any(|index| index.sql_name == column));
    let kind = if is_index {
        CoveredKind::Index
    } else {
        CoveredKind::Token
    };
    let table = entry.map_or_else(|| table.to_owned(), |entry| sql_table(entry, unregistered));
    (table, kind)
}

fn key_id(text: &str) -> Option<KeyId> {
    u32::from_str_radix(text, 16).ok().and_then(KeyId::new)
}

/// Refuses to replace a report: it is evidence.
pub(crate) fn check_free(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::ReportExists(path.to_owned()));
    }
    Ok(())
}

/// Writes a report where there is none.
pub(crate) fn write(path: &Path, json: &str) -> Result<(), Error> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(json.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// What is said at the end.
pub(crate) struct End<'a> {
    pub(crate) context: &'a Context,
    pub(crate) status: &'a RotationStatus,
    pub(crate) signed: &'a SignedCoverage,
    pub(crate) unregistered: &'a Unregistered,
    pub(crate) path: Option<&'a Path>,
}

impl End<'_> {
    pub(crate) fn text(&self) -> String {
        let mut text = self.signed.report().to_string().trim_end().to_owned();
        if self.status.has_wrong_clock() {
            text += &format!(
                "\nCLOCKS: that of the database and that of this machine were {} s apart. When the count began decides about the \
                 destruction of keys: set both by NTP, and run it again",
                self.status.clocks_apart
            );
        }
        if self.status.open_writers {
            text += "\nOPEN TRANSACTIONS: some that had written into the tables before the count began had not ended after 30 s, so that \
                     rows of theirs are in no count. Run `phield scan` once they have ended (pg_stat_activity, pg_prepared_xacts; \
                     information_schema.innodb_trx)";
        }
        for table in self.short() {
            text += &format!(
                "\nROWS PASSED OVER: {} of {}, which had {} rows before and {} after: the order of its rows changed meanwhile, or its \
                 key is none that they can be gone through by. Run it again; if it says so again, this is a bug in phield",
                table.rows,
                clean(&table.table),
                table.total,
                table.at_end.unwrap_or(0)
            );
        }
        for (table, column, values) in self.plaintext() {
            let (_, kind) = place_of((self.context, self.unregistered), table, column);
            let (table, column) = (clean(table), clean(column));
            let are = match values {
                1 => "1 value is".to_owned(),
                _ => format!("{values} values are"),
            };
            text += &match kind {
                CoveredKind::Index => format!(
                    "\nNO INDEX VALUES: {are} none in {table}.{column}. Make them: phield rotate run pepper"
                ),
                _ => format!(
                    "\nPLAINTEXT: {are} no token in {table}.{column}. Some process writes it without sealing: find that, and write the values \
                     again through the model"
                ),
            };
        }
        for table in self.unregistered.unbound.iter().map(|table| clean(table)) {
            text += &format!("\nUnbound: the rows of {table} can be put in each other's place.");
        }
        if !self.status.quarantined.is_empty() {
            text += "\nWhat does not open was left as it is. List it by: phield rotate quarantine";
        }
        match self.path {
            Some(path) => text += &format!("\nThe signed report is {}.", path.display()),
            None => {
                text += "\nThe signed report is kept in the database. Into a file: phield rotate status --report FILE";
            }
        }
        text
    }

    /// Tables of which rows were passed over.
    fn short(&self) -> impl Iterator<Item = &TableProgress> {
        self.status.tables.iter().filter(|table| table.is_short())
    }

    /// Values of registered columns that are no tokens: as they were counted, or found in the first rows.
    fn plaintext(&self) -> Vec<(&str, &str, u64)> {
        let counts = self.status.counts.iter().filter(|count| count.key == "-");
        let mut found: Vec<(&str, &str, u64)> = Vec::new();
        for count in counts {
            let place = (count.table.as_str(), count.column.as_str());
            match found
                .iter_mut()
                .find(|(table, column, _)| (*table, *column) == place)
            {
                Some((.., values)) => *values = (*values).max(count.count),
                None => found.push((place.0, place.1, count.count)),
            }
        }
        for column in &self.unregistered.plaintext {
            if !found.iter().any(|(_, name, _)| *name == column.column) {
                found.push((&column.table, &column.column, column.rows));
            }
        }
        found
    }

    /// Values under keys that the ring does not have.
    fn unknown(&self) -> usize {
        let report = self.signed.report();
        let is_known = |key| report.keys.iter().any(|known| known.key == key);
        let keys = report.columns.iter().flat_map(|column| &column.keys);
        keys.filter(|count| count.after > 0 && !is_known(count.key))
            .count()
    }

    /// An exit code that a script sees: values in quarantine, unregistered columns and a report that is not complete are a warning,
    /// plaintext and keys that the ring does not have an error.
    pub(crate) fn findings(&self) -> Result<(), Error> {
        let errors = self.plaintext().len()
            + self.unknown()
            + self.short().count()
            + usize::from(self.status.has_wrong_clock())
            + usize::from(self.status.open_writers);
        let quarantined: u64 = self.status.quarantined.iter().map(|noted| noted.count).sum();
        let warnings = usize::from(quarantined > 0)
            + usize::from(!self.signed.report().complete)
            + self.unregistered.columns.len();
        if errors + warnings == 0 {
            return Ok(());
        }
        Err(Error::Findings { errors, warnings })
    }
}
