//! Mistakes found so far: all of them are to be told, not only the first.

use super::{ValueError, ValueProblem};

/// Mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<ValueError>,
}

/// At least one mistake.
pub(super) struct Mistakes {
    pub(super) first: ValueError,
    pub(super) others: Vec<ValueError>,
}

impl Findings {
    pub(super) fn add(&mut self, line: u64, key: String, problem: ValueProblem) {
        self.errors.push(ValueError { line, key, problem });
    }

    /// `found`, unless there were mistakes.
    pub(super) fn settle<T>(self, found: T) -> Result<T, Box<Mistakes>> {
        let mut errors = self.errors;
        errors.sort_by_key(|error| error.line);
        let mut errors = errors.into_iter();
        match errors.next() {
            None => Ok(found),
            Some(first) => Err(Box::new(Mistakes { first, others: errors.collect() })),
        }
    }
}
