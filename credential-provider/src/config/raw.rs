//! The YAML text as it stands: keys and types checked, values not.

use serde::Deserialize;
use serde_saphyr::{Error, MessageFormatter, Spanned, UserMessageFormatter};

/// The document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) version: Spanned<String>,
    pub(super) registries: Vec<Spanned<RawRegistry>>,
}

/// One entry of `registries`. All optional: which key is needed depends on the provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawRegistry {
    #[serde(rename = "match")]
    pub(super) patterns: Option<Vec<Spanned<String>>>,
    pub(super) provider: Option<Spanned<String>>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) on_error: Option<Spanned<String>>,
}

/// What the text is instead.
pub(super) struct ShapeError {
    /// From 1; 0 when the parser cannot tell.
    pub(super) line: u64,
    pub(super) problem: String,
}

pub(super) fn parse(text: &str) -> Result<RawConfig, ShapeError> {
    serde_saphyr::from_str(text).map_err(|error| {
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
