//! What can go wrong with a plugin of others.

use std::io;

use super::shorten;

/// What a delegated plugin did in place of answering.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It could not be executed, or its answer not be read.
    #[error("cannot be executed")]
    Start(#[source] io::Error),
    /// It took too long and was killed.
    #[error("took longer than {seconds} s and was killed")]
    Hung {
        /// The deadline in seconds.
        seconds: u64,
    },
    /// It printed something else.
    #[error("printed no JSON document that the specification knows: {text:?}")]
    NoDocument {
        /// What it printed.
        text: String,
    },
    /// It printed too much.
    #[error("printed an answer longer than {limit} bytes")]
    TooLong {
        /// The bound in bytes.
        limit: u64,
    },
    /// Its result lists no address.
    #[error("gave no address")]
    NoAddress,
    /// Its result lists too much.
    #[error("gave more than {limit} addresses or routes")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

impl Fault {
    /// `text` is no document of the specification.
    pub(crate) fn no_document(text: &[u8]) -> Self {
        Self::NoDocument { text: shorten(&String::from_utf8_lossy(text)) }
    }

    pub(super) fn code(&self) -> u32 {
        match self {
            Self::Start(_) => 5,
            Self::NoDocument { .. } | Self::TooLong { .. } | Self::NoAddress | Self::TooMany { .. } => 6,
            Self::Hung { .. } => 11,
        }
    }
}
