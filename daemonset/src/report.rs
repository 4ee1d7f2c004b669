//! How errors are told: this layer first, then its causes.

use std::error::Error;

/// An error and its causes, joined by ": ". Some libraries repeat a cause in their own text; what has
/// been said is not said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !told.contains(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
        next = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {0}")]
    struct Open(&'static str, #[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("no config: {0}")]
    struct Repeating(#[source] Open);

    #[test]
    fn each_cause_is_told_once() {
        let error = Repeating(Open("/x", std::io::Error::other("refused")));
        assert_eq!(chain(&error), "no config: cannot open /x: refused");
    }
}
