//! The number of each error: the one place that gives it.

use super::Error;

impl Error {
    /// The code that the specification, or we from 100 on, give to this error.
    pub fn code(&self) -> u32 {
        match self {
            Self::UnknownVersion { .. } | Self::IncompatibleVersion { .. } => 1,
            Self::Environment { .. } | Self::Unset { .. } => 4,
            Self::ReadStdin(_) | Self::State { .. } | Self::Kernel { .. } => 5,
            Self::LostRecord { .. } | Self::UnreadableRecord { .. } => 5,
            Self::StdinTooLong { .. } | Self::Decode(_) => 6,
            Self::Config { .. } | Self::Missing { .. } | Self::PluginMissing { .. } => 7,
            Self::Netns { .. } => 8,
            Self::NotReady { .. } | Self::Exhausted { .. } | Self::LockHeld { .. } => 11,
            Self::Deadline { .. } | Self::Interrupted { .. } | Self::Busy { .. } => 11,
            Self::Plugin { fault, .. } => fault.code(),
            Self::Delegated { code, .. } => *code,
            // The specification's words for "and running pods suffer too" are a delegated plugin's to say.
            Self::Unavailable(cause) if cause.code() == 51 => 51,
            Self::Unavailable(_) => 50,
            Self::AddressTaken { .. } => 101,
            Self::HostPortTaken { .. } => 102,
            Self::InterfaceExists { .. } | Self::BridgeUnfit { .. } | Self::RouteExists { .. } => 103,
            Self::BridgeFull { .. } => 104,
            Self::KernelFeature { .. } => 105,
            Self::CheckFailed { .. } => 106,
            Self::GivenBefore { .. } => 107,
            Self::NotUndone { cause, .. } | Self::OfAttachment { cause, .. } => cause.code(),
            Self::Several { failures, .. } => failures.first().map_or(5, Self::code),
        }
    }
}
