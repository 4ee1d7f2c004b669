//! Attachments whose host link is gone without a DEL, as after a sandbox that died with its runtime:
//! containerd never calls GC, so their addresses and ports would stay taken until the next boot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tripod_cni::record::Record;
use tripod_cni::{Collected, Dirs};

use crate::standing::Standing;

/// Container and interface.
type Name = (String, String);

/// The attachments that were without their link at the last look, and since when.
#[derive(Debug)]
pub struct Orphans {
    grace: Duration,
    missed: BTreeMap<Name, Instant>,
    left: Standing<String>,
}

impl Orphans {
    /// Nothing was missed yet. An attachment is released once its link was gone at two looks that are at least
    /// `grace` apart: a runtime that is alive sends its own DEL meanwhile.
    pub fn new(grace: Duration) -> Self {
        Self { grace, missed: BTreeMap::new(), left: Standing::default() }
    }

    /// Releases those of `records` that are due.
    pub fn collect<'a>(&mut self, dirs: &Dirs, records: impl Iterator<Item = &'a Record>) {
        let gone: BTreeMap<Name, &Record> =
            records.filter(|record| tripod_cni::is_orphan(record)).map(|one| (name(one), one)).collect();
        let due = self.due(gone.keys(), Instant::now());
        let left = due.iter().filter_map(|name| gone.get(name)).filter_map(|record| release(dirs, record));
        for problem in self.left.replace(left.collect()).come {
            tracing::warn!(problem, "an attachment without its link stays");
        }
    }

    /// Notes what is `gone` now, and returns what has been for long enough.
    fn due<'a>(&mut self, gone: impl Iterator<Item = &'a Name>, now: Instant) -> Vec<Name> {
        let since = |name: &Name| self.missed.get(name).copied().unwrap_or(now);
        let missed: BTreeMap<_, _> = gone.map(|name| (name.clone(), since(name))).collect();
        let is_due = |(name, since): (&Name, &Instant)| {
            let is_second_look = self.missed.contains_key(name);
            (is_second_look && now.duration_since(*since) >= self.grace).then(|| name.clone())
        };
        let due = missed.iter().filter_map(is_due).collect();
        self.missed = missed;
        due
    }
}

fn name(record: &Record) -> Name {
    (record.container_id.clone(), record.ifname.clone())
}

/// What keeps the attachment from being released, if anything does.
fn release(dirs: &Dirs, record: &Record) -> Option<String> {
    let (pod, container, interface) = (record.pod.as_deref(), &record.container_id, &record.ifname);
    let named = |why: String| format!("container {container} on {interface}: {why}");
    match tripod_cni::collect(dirs, record) {
        Ok(Collected::Released) => {
            tracing::info!(
                pod,
                container,
                interface,
                addresses = crate::node_facts::list(&record.addresses),
                "released an attachment whose link is gone and of which no DEL has told"
            );
            None
        }
        Ok(Collected::Alive) => None,
        Ok(Collected::Left(reason)) => Some(named(reason)),
        Err(error) => Some(named(error.in_one_line())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_looks_and_the_grace_make_an_orphan() {
        let mut orphans = Orphans::new(Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let gone = [("c1".to_owned(), "eth0".to_owned())];
        assert!(orphans.due(gone.iter(), at(0)).is_empty());
        assert!(orphans.due(gone.iter(), at(59)).is_empty());
        assert_eq!(orphans.due(gone.iter(), at(60)), gone);
        // A link that came back begins anew.
        assert!(orphans.due([].iter(), at(61)).is_empty());
        assert!(orphans.due(gone.iter(), at(500)).is_empty());
        assert!(orphans.due(gone.iter(), at(501)).is_empty());
    }

    #[test]
    fn one_look_is_not_enough_whatever_the_grace() {
        let mut orphans = Orphans::new(Duration::ZERO);
        let gone = [("c1".to_owned(), "eth0".to_owned())];
        assert!(orphans.due(gone.iter(), Instant::now()).is_empty());
        assert_eq!(orphans.due(gone.iter(), Instant::now()), gone);
    }
}
