//! The verbs of the command line.

pub(crate) mod check_config;
pub(crate) mod discover;
pub(crate) mod document;
pub(crate) mod prefer;
pub(crate) mod run;
