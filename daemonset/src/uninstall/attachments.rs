//! What pods still have: as long as one runs, its network stays.

use std::path::Path;

use tripod_cni::nft::base::LINK_GROUP;
use tripod_cni::record::{Entry, Record, Records};
use tripod_cni::{Collected, Dirs};

use super::outcome::Object;
use crate::attachments;
use crate::kernel::Kernel;

/// How many attachments a reason names.
const NAMED: usize = 5;

/// Attachments that are left, and what could not be learned about them.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    names: Vec<String>,
    problems: Vec<Object>,
}

impl Remaining {
    /// Why what pods need stays; nothing once it may go.
    pub(super) fn reason(&self) -> Option<String> {
        if self.names.is_empty() {
            return (!self.problems.is_empty()).then(|| "it is not known which pods are left".to_owned());
        }
        let named: Vec<_> = self.names.iter().take(NAMED).map(String::as_str).collect();
        let more = if self.names.len() > NAMED { ", …" } else { "" };
        let count = self.names.len();
        Some(format!("{count} pods of Tripod are left on this node, delete them: {}{more}", named.join(", ")))
    }

    /// The attachments as objects.
    pub(super) fn objects(&self) -> Vec<Object> {
        let mut objects = self.problems.clone();
        match self.reason() {
            Some(reason) if !self.names.is_empty() => {
                objects.push(Object::waiting("attachments of pods", reason))
            }
            Some(_) => {}
            None => objects.push(Object::done("attachments of pods")),
        }
        objects
    }
}

/// Releases the attachments whose link is gone, and tells the others. There is no grace: without conflist and
/// marker no ADD begins, and a runtime without a conflist sends no DEL.
pub(super) async fn remaining(state: &Path, kernel: &Kernel) -> Remaining {
    let dirs = attachments::dirs(state);
    let mut remaining = Remaining::default();
    match Records::new(dirs.attachments.clone()).list() {
        Ok(entries) => entries.into_iter().for_each(|entry| match entry {
            Ok(Entry::Whole(record)) => remaining.look(&dirs, &record),
            Ok(Entry::Unreadable { hash }) => remaining.names.push(format!("tp{hash}")),
            Err(error) => remaining.problems.push(Object::failed("an attachment record", &error)),
        }),
        Err(error) => remaining.problems.push(Object::failed("attachment records", &error)),
    }
    remaining.add_links(kernel).await;
    remaining
}

impl Remaining {
    fn look(&mut self, dirs: &Dirs, record: &Record) {
        match tripod_cni::collect(dirs, record) {
            Ok(Collected::Released) => {}
            Ok(Collected::Alive) => self.names.push(name(record)),
            Ok(Collected::Left(reason)) => self.names.push(format!("{} ({reason})", name(record))),
            Err(error) => self.problems.push(Object::failed(name(record), &error)),
        }
    }

    /// A link whose record is lost is some pod's all the same.
    async fn add_links(&mut self, kernel: &Kernel) {
        match kernel.links().await {
            Ok(_) if !self.names.is_empty() => {}
            Ok(links) => {
                let ours = links.into_iter().filter(|link| link.group == LINK_GROUP);
                self.names.extend(ours.map(|link| format!("link {}", link.name)));
            }
            Err(error) => self.problems.push(Object::failed("links of pods", &error)),
        }
    }
}

fn name(record: &Record) -> String {
    let container = || format!("container {} on {}", record.container_id, record.ifname);
    record.pod.clone().unwrap_or_else(container)
}
