//! `health`: what errors of drivers mean.

use std::collections::BTreeMap;

use crate::config::field::Field;
use crate::config::problem::Problems;
use crate::discovery::nvidia::xid::{Policy, Severity};

/// Most numbers in a list, and the highest there are.
const MAX_XIDS: usize = 256;
const HIGHEST: u32 = 999;

/// `{xid: {ignore: [63], application: [94], reset: [79], replace: [54]}}`.
pub(super) fn check(field: &Field<'_>, problems: &mut Problems) -> Option<Policy> {
    let table = field.table(&["xid"], problems)?;
    let Some(xid) = table.field("xid") else { return Some(Policy::default()) };
    let severities = xid.table(&Severity::ALL.map(|(word, _)| word), problems)?;
    let mut policy = BTreeMap::new();
    for (word, severity) in Severity::ALL {
        let Some(list) = severities.field(word) else { continue };
        for item in list.list(MAX_XIDS, problems)? {
            let number = u64::from(item.integer(1..=HIGHEST, problems)?);
            if policy.insert(number, severity).is_some() {
                item.problem(problems, format!("{number} has a severity already"), "list each number once");
            }
        }
    }
    Some(Policy(policy))
}
