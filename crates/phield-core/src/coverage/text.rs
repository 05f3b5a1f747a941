//! A coverage report for people.

use std::fmt;

use super::columns::sum;
use super::{ColumnCoverage, CoverageReport, CoveredKey, CoveredKind};
use crate::civil::Utc;
use crate::key::KeyId;
use crate::record::KeyState;

impl fmt::Display for CoverageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Coverage of {} by ring {} of {} ({}), by {}",
            Clean(&self.database),
            self.ring,
            self.app,
            self.mode.as_str(),
            Clean(&self.who)
        )?;
        writeln!(
            f,
            "started {}, counted from {} to {}; epoch {} to {}; hard TTL {} s",
            Utc(self.started),
            Utc(self.count_started),
            Utc(self.ended),
            self.epoch_start,
            self.epoch_end,
            self.hard_ttl_seconds
        )?;
        if !self.complete {
            writeln!(
                f,
                "NOT COMPLETE: rows that were not counted may hold any key. This proves nothing; run it to its end."
            )?;
        }
        self.columns
            .iter()
            .try_for_each(|column| self.fmt_column(column, f))?;
        self.fmt_totals(f)?;
        if !self
            .columns
            .iter()
            .any(|column| column.kind == CoveredKind::Index)
        {
            writeln!(
                f,
                "The schema file has no index: index values were not looked for, and are not counted."
            )?;
        }
        if self.unregistered.is_empty() {
            return write!(f, "No column holds tokens and is not registered.");
        }
        let unregistered = self.unregistered.len() as u64;
        write!(
            f,
            "{} not registered that {} tokens; their keys were not counted:",
            Count(unregistered, "column"),
            if unregistered == 1 { "holds" } else { "hold" }
        )?;
        self.unregistered
            .iter()
            .try_for_each(|name| write!(f, "\n  {}", Clean(name)))
    }
}

impl CoverageReport {
    /// Every key of the ring, and every other one that was found.
    fn fmt_totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.columns.iter().flat_map(|column| &column.keys);
        let known = self.keys.iter().map(|known| known.key);
        let mut keys: Vec<_> = known.chain(found.map(|count| count.key)).collect();
        keys.sort_by_cached_key(|key| self.order(*key));
        keys.dedup();
        for key in keys {
            match self.known(key) {
                Some(known) => self.fmt_key(key, &format!("{}, {}", known.state, known.key_use), f)?,
                None => self.fmt_key(key, "not in the ring, or destroyed", f)?,
            }
        }
        let quarantined = sum(self.columns.iter().map(ColumnCoverage::quarantined_rows));
        writeln!(f, "{} in quarantine", Count(quarantined, "row"))
    }

    fn known(&self, key: KeyId) -> Option<&CoveredKey> {
        self.keys.iter().find(|known| known.key == key)
    }

    /// The order of keys, which by their ids is none: of one use together, the old one before the new one.
    fn order(&self, key: KeyId) -> impl Ord + use<> {
        let known = self.known(key);
        let states = [
            KeyState::Compromised,
            KeyState::DecryptOnly,
            KeyState::Active,
            KeyState::PreActive,
        ];
        let state = known.and_then(|known| states.iter().position(|state| state.as_str() == known.state));
        let key_use = known.map(|known| known.key_use.clone());
        (known.is_none(), key_use, state.unwrap_or(states.len()), key)
    }

    fn fmt_key(&self, key: KeyId, what: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = Count(self.rows_under(key), "row");
        write!(f, "{rows} under key {key} ({})", Clean(what))?;
        let quarantined = self.columns.iter().flat_map(|column| &column.quarantined);
        match sum(quarantined
            .filter(|entry| entry.key == Some(key))
            .map(|entry| entry.rows))
        {
            0 => {}
            quarantined => write!(f, ", and {} in quarantine", Count(quarantined, "row"))?,
        }
        match self.shredded(key) {
            0 => writeln!(f)?,
            shredded => writeln!(f, ", and {} of shredded subjects", Count(shredded, "row"))?,
        }
        match self.compromised(key) {
            0 => Ok(()),
            values => writeln!(
                f,
                "NOT AUTHENTICATED: {} opened under key {key} while it was compromised, and sealed again under another one. Whoever \
                 had key {key} can have made them up: compare them with where they come from.",
                if values == 1 {
                    "1 value was".to_owned()
                } else {
                    format!("{values} values were")
                }
            ),
        }
    }

    fn fmt_column(&self, of: &ColumnCoverage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, column) = (Clean(&of.table), Clean(&of.column));
        write!(f, "  {table}.{column} ({})", of.kind.as_str())?;
        if of.keys.is_empty() && of.quarantined.is_empty() {
            return writeln!(f, ": nothing");
        }
        writeln!(f)?;
        let mut keys: Vec<_> = of.keys.iter().collect();
        keys.sort_by_cached_key(|count| self.order(count.key));
        for count in keys {
            write!(f, "    {}: {}", count.key, Count(count.after, "row"))?;
            if let Some(before) = count.before {
                write!(f, ", {before} before")?;
            }
            if count.shredded > 0 {
                write!(f, ", {} shredded", count.shredded)?;
            }
            if count.compromised > 0 {
                write!(
                    f,
                    ", {} sealed again from it while it was compromised",
                    count.compromised
                )?;
            }
            writeln!(f)?;
        }
        for entry in &of.quarantined {
            write!(
                f,
                "    quarantine, {}: {}",
                entry.reason.as_str(),
                Count(entry.rows, "row")
            )?;
            match entry.key {
                Some(key) => writeln!(f, " under {key}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// `1 row`, `2 rows`.
struct Count(u64, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

/// A name of somebody else, for a terminal: without anything that it would obey.
#[must_use]
pub fn clean(text: &str) -> String {
    Clean(text).to_string()
}

/// Text of somebody else, without anything that a terminal would obey.
struct Clean<'a>(&'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_unicode()),
            false => write!(f, "{c}"),
        })
    }
}
