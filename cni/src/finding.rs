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
        let [object, evidence, fix] = [&self.object, &self.evidence, &self.fix].map(|text| plain(text));
        writeln!(f, "{severity:<5} {:<12} {object}: {evidence}", self.check)?;
        if fix.is_empty() { Ok(()) } else { writeln!(f, "{:19}fix: {fix}", "") }
    }
}

/// Without what would drive the terminal of whoever reads it: files and programs of others are quoted here.
fn plain(text: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().collect(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_not_drive_the_terminal() {
        let nasty = "a\u{1b}]0;x\u{7}\r\nb\u{9b}2J";
        let found = Finding::warn("runtime", nasty, nasty).fix(nasty).to_string();
        assert_eq!(
            found.chars().filter(|letter| letter.is_control()).collect::<String>(),
            "\n\n",
            "{found:?}"
        );
        assert!(found.contains(r"a\u{1b}]0;x\u{7}\r\nb\u{9b}2J"), "{found}");
        assert!(Finding::ok("runtime", "ä", "ß").to_string().contains("ä: ß"));
    }
}
