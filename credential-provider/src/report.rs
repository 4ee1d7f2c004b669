//! Findings: what `check-config` and `explain` have to say, as text or as JSON.

use std::fmt::Write;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, but perhaps not as meant.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked for: a stable name.
    pub check: &'static str,
    /// How it stands.
    pub severity: Severity,
    /// At what: a file, an entry, an image.
    pub object: String,
    /// What was seen.
    pub evidence: String,
    /// What to do; empty if nothing.
    pub fix: String,
}

impl Finding {
    /// Nothing to do.
    pub fn ok(check: &'static str, object: impl Into<String>, evidence: impl Into<String>) -> Self {
        let (object, evidence) = (object.into(), evidence.into());
        Self { check, severity: Severity::Ok, object, evidence, fix: String::new() }
    }

    /// Something to think about.
    pub fn warn(check: &'static str, object: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, ..Self::ok(check, object, evidence) }
    }

    /// Something to repair.
    pub fn fail(check: &'static str, object: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { severity: Severity::Fail, ..Self::ok(check, object, evidence) }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }
}

/// Whether any of `findings` is a failure.
pub fn has_failure(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Fail)
}

/// For programs: a JSON list.
pub fn render_json(findings: &[Finding]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(findings).map(|text| text + "\n")
}

/// For people: a line per finding, and one for its remedy.
pub fn render_text(findings: &[Finding]) -> String {
    let widest = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    findings.iter().fold(String::new(), |mut text, finding| {
        let severity = match finding.severity {
            Severity::Ok => "ok",
            Severity::Warn => "warn",
            Severity::Fail => "FAIL",
        };
        let Finding { check, object, evidence, fix, .. } = finding;
        // Writing into a String cannot fail.
        let written = writeln!(text, "{severity:<5} {check:<widest$}  {object}: {evidence}").and_then(|()| {
            if fix.is_empty() { Ok(()) } else { writeln!(text, "{:<5} {:<widest$}  -> {fix}", "", "") }
        });
        debug_assert!(written.is_ok(), "writing into a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Finding, has_failure, render_json, render_text};

    #[test]
    fn findings_are_a_list_for_programs_and_lines_for_people() {
        let findings =
            [Finding::ok("file", "/f", "2 auths keys"), Finding::fail("config", "/c", "bad").fix("mend it")];
        assert!(has_failure(&findings) && !has_failure(&findings[..1]));
        let list: serde_json::Value = serde_json::from_str(&render_json(&findings).unwrap()).unwrap();
        let expected = serde_json::json!({"check": "config", "severity": "fail", "object": "/c", "evidence": "bad", "fix": "mend it"});
        assert_eq!(list[1], expected);
        let text = "ok    file    /f: 2 auths keys\nFAIL  config  /c: bad\n              -> mend it\n";
        assert_eq!(render_text(&findings), text);
    }
}
