//! How an error is told: the document for the runtime, and one line for a person.

use std::error::Error as _;

use super::{Error, shorten};
use crate::spec::{Failure, Version};

/// Most failures of many that are told one by one.
const MOST: usize = 3;

impl Error {
    /// What a delegated plugin added to its message.
    fn said(&self) -> Option<&str> {
        match self {
            Self::Delegated { details, .. } => details.as_deref(),
            Self::Unavailable(cause) | Self::NotUndone { cause, .. } | Self::OfAttachment { cause, .. } => {
                cause.said()
            }
            _ => None,
        }
    }

    /// What lies behind it, nearest first.
    fn causes(&self) -> Vec<String> {
        match self {
            Self::NotUndone { cause, .. } | Self::OfAttachment { cause, .. } => cause.causes(),
            _ => {
                let chain = std::iter::successors(self.source(), |cause| (*cause).source());
                chain.map(|cause| shorten(&cause.to_string())).collect()
            }
        }
    }

    /// What failed and why, without what to do.
    pub(super) fn story(&self) -> String {
        let mut parts = vec![self.to_string()];
        parts.extend(self.causes());
        parts.extend(self.said().map(str::to_owned));
        parts.join(": ")
    }

    /// All of it for a person: what failed, why, and what to do.
    pub fn in_one_line(&self) -> String {
        let Failure { msg, details, .. } = self.failure(Version::default());
        if details.is_empty() { msg } else { format!("{msg}: {details}") }
    }

    /// The document for stdout, in the version of the request.
    pub fn failure(&self, version: Version) -> Failure {
        let mut details = self.causes();
        details.extend(self.said().map(str::to_owned));
        let remedy = self.remedy();
        if !remedy.is_empty() {
            details.push(remedy.into_owned());
        }
        Failure {
            cni_version: version,
            code: self.code(),
            msg: self.to_string(),
            details: details.join(": "),
        }
    }
}

/// The first few of many failures.
pub(super) fn first_of(failures: &[Error]) -> String {
    let mut told: Vec<String> = failures.iter().take(MOST).map(Error::story).collect();
    if let Some(more) = failures.len().checked_sub(MOST).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}
