//! What `phield doctor` finds.

use std::error::Error;
use std::fmt::Write as _;

use serde::Serialize;

use crate::text::chain;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// The application does not work, or data can be lost, now.
    Error,
    /// It will not, or it is weaker than it should be.
    Warning,
    /// Good to know.
    Note,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    Configuration,
    Files,
    Clock,
    Provider,
    Ring,
    Keys,
    Backup,
    Cache,
    Machine,
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(super) severity: Severity,
    area: Area,
    finding: String,
    means: String,
    action: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn error(
        &mut self,
        area: Area,
        finding: impl Into<String>,
        means: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(Severity::Error, area, finding, means, action);
    }

    pub(super) fn warning(
        &mut self,
        area: Area,
        finding: impl Into<String>,
        means: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(Severity::Warning, area, finding, means, action);
    }

    pub(super) fn note(
        &mut self,
        area: Area,
        finding: impl Into<String>,
        means: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(Severity::Note, area, finding, means, action);
    }

    /// An error that something ended with.
    pub(super) fn failed(
        &mut self,
        area: Area,
        error: &dyn Error,
        means: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.error(area, chain(error), means, action);
    }

    fn add(
        &mut self,
        severity: Severity,
        area: Area,
        finding: impl Into<String>,
        means: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.0.push(Finding {
            severity,
            area,
            finding: finding.into(),
            means: means.into(),
            action: action.into(),
        });
    }

    /// The worst first.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| (finding.severity, finding.area));
        self.0
    }
}

impl Finding {
    /// For a tired person.
    pub(super) fn text(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Note => "NOTE",
        };
        let area = format!("{:?}", self.area).to_lowercase();
        let mut text = String::new();
        let _ = writeln!(text, "{severity:<8} {area}: {}", self.finding);
        let _ = writeln!(text, "         It means: {}", self.means);
        let _ = writeln!(text, "         Do this:  {}\n", self.action);
        text
    }
}
