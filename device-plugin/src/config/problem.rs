//! One thing that is wrong with a config file, and what to do about it.

use std::fmt;

/// A problem, placed by line and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1; 0 when there is none to name.
    pub line: u64,
    /// Path of the key, for example `resources[0].match.paths[1]`; empty when no key is concerned.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would make it right.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.key.is_empty() { "the file" } else { &self.key };
        write!(f, "{subject} {} ({})", self.message, self.fix)
    }
}

/// Gathers problems while a document is being checked.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Notes a problem at `line` and `key`.
    pub(crate) fn add(&mut self, line: u64, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Problem { line, key: key.to_owned(), message: message.into(), fix: fix.into() });
    }
}
