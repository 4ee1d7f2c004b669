//! What the driver's error numbers (XIDs) mean for a GPU.

use std::collections::BTreeMap;

/// What must happen after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing.
    Ignore,
    /// The application that met it must start again; the GPU is well.
    Application,
    /// The GPU must be reset, or its node rebooted.
    Reset,
    /// The GPU or its board must be seen to by hand.
    Replace,
}

impl Severity {
    /// All of them, by their words in a config.
    pub const ALL: [(&'static str, Severity); 4] = [
        ("ignore", Severity::Ignore),
        ("application", Severity::Application),
        ("reset", Severity::Reset),
        ("replace", Severity::Replace),
    ];
}

/// Known errors that need no reset, or more than one, by the driver's XID documentation
/// (<https://docs.nvidia.com/deploy/xid-errors/>): what it blames on applications, what it says is for
/// information, and what it says to look at the hardware for.
const KNOWN: [(u64, Severity); 17] = [
    (8, Severity::Application),
    (13, Severity::Application),
    (31, Severity::Application),
    (32, Severity::Application),
    (37, Severity::Application),
    (43, Severity::Application),
    (45, Severity::Application),
    (54, Severity::Replace),
    (63, Severity::Ignore),
    (65, Severity::Application),
    (68, Severity::Application),
    (69, Severity::Application),
    (92, Severity::Ignore),
    (94, Severity::Application),
    (109, Severity::Application),
    (121, Severity::Ignore),
    (126, Severity::Application),
];

/// Which errors need what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(pub BTreeMap<u64, Severity>);

impl Policy {
    /// What must happen after error `xid`. One that nobody knows costs a reset: the driver reports only
    /// those that it takes for critical.
    pub fn severity(&self, xid: u64) -> Severity {
        let known = || KNOWN.iter().find(|(known, _)| *known == xid).map(|(_, severity)| *severity);
        self.0.get(&xid).copied().or_else(known).unwrap_or(Severity::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_has_the_last_word_and_the_unknown_costs_a_reset() {
        let policy = Policy([(94, Severity::Reset), (79, Severity::Replace)].into());
        let severities = [94, 79, 13, 63, 4711].map(|xid| policy.severity(xid));
        use Severity::{Application, Ignore, Replace, Reset};
        assert_eq!(severities, [Reset, Replace, Application, Ignore, Reset]);
    }
}
