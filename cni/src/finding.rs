//! What was looked at for a person, in the form that all of Tripod's checks share.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Pods may miss something.
    Warn,
    /// Every ADD would fail.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was asked.
    pub check: &'static str,
    /// How bad the answer is.
    pub severity: Severity,
    /// Of what.
    pub object: String,
    /// The answer.
    pub evidence: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, object: impl ToString, evidence: impl Into<String>) -> Self {
        let (object, evidence) = (object.to_string(), evidence.into());
        Self { check, severity: Severity::Ok, object, evidence, fix: String::new() }
    }

    /// Pods may miss something.
    pub fn warn(check: &'static str, object: impl ToString, evidence: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, ..Self::ok(check, object, evidence) }
    }

    /// Nothing works.
    pub fn fail(check: &'static str, object: impl ToString, evidence: impl Into<String>) -> Self {
        Self { severity: Severity::Fail, ..Self::ok(check, object, evidence) }
    }

    /// With what to do.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Warn => "WARN",
            Severity::Fail => "FAIL",
        };
        writeln!(f, "{severity:<5} {:<12} {}: {}", self.check, self.object, self.evidence)?;
        if self.fix.is_empty() { Ok(()) } else { writeln!(f, "{:19}fix: {}", "", self.fix) }
    }
}

/// All of them for people, in the order they were found.
pub fn text(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect()
}

/// The same for programs: `[{check, severity: ok|warn|fail, object, evidence, fix}]`.
pub fn json(findings: &[Finding]) -> String {
    serde_json::to_string(findings).unwrap_or_default() + "\n"
}

/// Whether nothing fails.
pub fn is_good(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Fail)
}
