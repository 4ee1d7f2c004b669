//! The YAML text as it stands: the outermost keys, and trees below them.

use serde::Deserialize;
use serde_saphyr::{Error, MessageFormatter, Spanned, UserMessageFormatter};

use crate::yaml::Tree;

/// The document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) version: Spanned<String>,
    pub(super) defaults: Option<Tree>,
    pub(super) cache: Option<Tree>,
    pub(super) registries: Vec<Tree>,
}

/// What the text is instead.
pub(super) struct ShapeError {
    /// From 1; 0 when the parser cannot tell.
    pub(super) line: u64,
    pub(super) problem: String,
}

pub(super) fn parse(text: &str) -> Result<RawConfig, ShapeError> {
    // Else the word "off" would be a truth value, as in YAML 1.1.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        ShapeError { line: error.location().map_or(0, |location| location.line()), problem: problem(error) }
    })
}

/// In our words where an admin meets it often. Values of a wrong type are not repeated: they may be
/// secrets that went into the wrong file.
fn problem(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key {field:?}; known here are {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("key {field:?} is missing"),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            format!("a value has the wrong type, expected {expected}")
        }
        other => UserMessageFormatter.format_message(other).into_owned(),
    }
}
