//! Rules that look packets of our pods up in a table of their own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use nix::errno::Errno;
use rtnetlink::IpVersion;

use super::{Kernel, KernelError, PROTOCOL};
use crate::mesh::{FROM_PODS, RULE_PRIORITY};

impl Kernel {
    /// The prefixes that rules of ours are about.
    pub async fn rules(&self) -> Result<BTreeSet<IpNetwork>, KernelError> {
        let mut found = BTreeSet::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let rules = self.handle.rule().get(version).execute().try_collect::<Vec<_>>().await;
            let rules = match rules.map_err(KernelError::refused("list", "routing rules")) {
                // A kernel without this family has no rules for it.
                Err(error) if error.is(Errno::EAFNOSUPPORT) || error.is(Errno::EOPNOTSUPP) => continue,
                rules => rules?,
            };
            found.extend(rules.iter().filter_map(source));
        }
        Ok(found)
    }

    /// Adds the rule for packets from `prefix`.
    pub async fn add_rule(&self, prefix: IpNetwork) -> Result<(), KernelError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = message(prefix);
        request.execute().await.map_err(KernelError::refused("add routing rule for", prefix))
    }

    /// Removes the rule for packets from `prefix`.
    pub async fn delete_rule(&self, prefix: IpNetwork) -> Result<(), KernelError> {
        let removed = self.handle.rule().del(message(prefix)).execute().await;
        match removed.map_err(KernelError::refused("remove routing rule for", prefix)) {
            Err(error) if error.is(Errno::ENOENT) => Ok(()),
            removed => removed,
        }
    }
}

fn message(prefix: IpNetwork) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = super::family(prefix.ip());
    message.header.src_len = prefix.prefix();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(prefix.network()),
        RuleAttribute::Priority(RULE_PRIORITY),
        RuleAttribute::Table(FROM_PODS),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}

fn source(rule: &RuleMessage) -> Option<IpNetwork> {
    let ours = RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL));
    if !rule.attributes.contains(&ours) || !is_ip(rule.header.family) {
        return None;
    }
    let source: Option<IpAddr> = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Source(source) => Some(*source),
        _ => None,
    });
    IpNetwork::new(source?, rule.header.src_len).ok()
}

fn is_ip(family: AddressFamily) -> bool {
    matches!(family, AddressFamily::Inet | AddressFamily::Inet6)
}
