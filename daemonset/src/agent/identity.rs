//! What the agent knows of its own node, and what the others are told of it.

use super::{Agent, node};
use crate::config::Backend;
use crate::node_facts::{NodeFacts, Seen};
use crate::report;
use crate::tripod_node::Claim;
use crate::wireguard_key::PublicKey;

impl Agent<'_> {
    /// Takes over what the API says of our Node object.
    pub(super) fn hear(&mut self, news: Option<Seen>) {
        match news {
            None => {}
            Some(Ok(facts)) => {
                self.refused = None;
                self.learn(facts);
            }
            Some(Err(error)) if self.refused.as_ref() == Some(&error) => {}
            Some(Err(error)) => {
                tracing::error!(error = report::chain(&error), "keeping the last known facts");
                self.refused = Some(error);
            }
        }
    }

    /// Takes over new facts. A Node object that lost its pod CIDRs was made anew and will get some;
    /// until then its pods keep what they have.
    pub(super) fn learn(&mut self, mut news: NodeFacts) {
        // Under an external cloud controller a Node that is made anew gets its addresses last.
        if let Some(known) = self.facts.as_ref().filter(|_| news.node_ips.is_empty()) {
            news.node_ips.clone_from(&known.node_ips);
        }
        if self.facts.as_ref() == Some(&news) {
            return;
        }
        if news.pod_cidrs.is_empty() && self.facts.as_ref().is_some_and(|facts| !facts.pod_cidrs.is_empty()) {
            tracing::debug!("the Node object has no pod CIDRs any more; keeping the last ones");
            return;
        }
        tracing::info!(node = self.settings.node_name, facts = %news, "learned about this node");
        node::tell_unlisted(&self.config, &news);
        self.facts = Some(news);
        self.is_judged = false;
        self.tell_ours();
    }

    /// Tells the other nodes about this one. A node that encrypts tells of itself once it is known whether it has a
    /// key: without one others would lose it for as long as its first look fails.
    pub(super) fn tell_ours(&self) {
        if self.config.backend == Backend::Wireguard && !self.is_key_known {
            return;
        }
        let claim = self.facts.as_ref().and_then(|facts| Claim::new(facts, self.key));
        self.ours.send_if_modified(|told| {
            let is_new = *told != claim;
            *told = claim;
            is_new
        });
    }

    /// Takes over the key that the kernel made of our private one.
    pub(super) fn take_key(&mut self, key: Option<PublicKey>) {
        self.is_key_known = true;
        self.is_judged &= self.key == key;
        self.key = key;
    }
}
