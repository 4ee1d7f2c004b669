//! Claims that cannot all be true: what Node objects say of them, and what holds until they have said it.

use std::collections::BTreeMap;

use super::subject::{Guest, Property, guests, key_owners, owners};
use super::{Claims, Disputed, Refusal, Standpoint, Verdicts};
use crate::config::Backend;
use crate::tripod_node::Claim;

/// What came of the disputes.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Whose Node objects are needed.
    pub(super) disputed: Disputed,
    /// Who is not believed.
    pub(super) losers: BTreeMap<String, Refusal>,
}

/// What is known of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Right,
    Wrong,
    /// Its Node object has not been read, and it was believed until now.
    Held,
    /// Its Node object has not been read, and it is new.
    New,
}

/// Settles the disputes among `sound` claims.
pub(super) fn settle(
    claims: &Claims,
    sound: &BTreeMap<&str, Claim>,
    verdicts: &Verdicts,
    us: Standpoint<'_>,
) -> Outcome {
    let believed = us.peers.iter().map(|peer| (peer.name.as_str(), &peer.claim)).collect();
    let mut court = Court { claims, sound, verdicts, believed, outcome: Outcome::default() };
    for (property, names) in owners(sound) {
        if names.len() > 1 {
            court.contest(&property, &names);
        }
    }
    for guest in guests(claims, sound, us.name) {
        court.evict(&guest);
    }
    if us.config.backend == Backend::Wireguard {
        key_owners(sound).into_values().filter(|names| names.len() > 1).for_each(|names| court.part(&names));
    }
    if us.config.cluster_cidrs.is_empty() {
        court.confirm_all();
    }
    court.outcome
}

struct Court<'a> {
    claims: &'a Claims,
    sound: &'a BTreeMap<&'a str, Claim>,
    verdicts: &'a Verdicts,
    believed: BTreeMap<&'a str, &'a Claim>,
    outcome: Outcome,
}

impl<'a> Court<'a> {
    fn contest(&mut self, property: &Property<'_>, names: &[&str]) {
        let rulings: Vec<_> = names.iter().map(|name| (*name, self.ruling(name))).collect();
        let held = rulings.iter().find(|(_, ruling)| *ruling == Ruling::Held).map(|(name, _)| *name);
        for (name, ruling) in rulings {
            let other = names.iter().find(|other| **other != name).copied().unwrap_or_default();
            let wait = |awaited: &str| Refusal::Waiting {
                what: property.name(),
                other: other.to_owned(),
                awaited: awaited.to_owned(),
            };
            match (ruling, held) {
                (Ruling::Wrong, _) => self.refuse(name, property.refusal(other)),
                (Ruling::New, _) => self.refuse(name, wait(name)),
                (Ruling::Right, Some(held)) if !self.is_believed(name) => self.refuse(name, wait(held)),
                (Ruling::Right | Ruling::Held, _) => {}
            }
        }
    }

    /// Nodes that claim one key. It says nothing of who has it that they have told it. Several were believed with it
    /// only while nobody looked at keys, and that says nothing either.
    fn part(&mut self, names: &[&str]) {
        let had: Vec<_> = names.iter().filter(|name| self.had_its_key(name)).collect();
        let first = if let [first] = had[..] { Some(*first) } else { None };
        for name in names.iter().filter(|name| Some(**name) != first) {
            let other = names.iter().find(|other| *other != name).copied().unwrap_or_default();
            self.refuse(name, Refusal::Key { other: other.to_owned() });
        }
    }

    fn had_its_key(&self, name: &str) -> bool {
        let key = |claim: Option<&Claim>| claim.and_then(|claim| claim.wireguard_key);
        let had = key(self.believed.get(name).copied());
        had.is_some() && had == key(self.claim(name))
    }

    /// A prefix that is a node's by its Node object stays its own, as a node writes its own addresses there but
    /// no prefixes. Otherwise an address that is a node's by its Node object is no pod's, and one that only the
    /// node itself knows of takes nothing from anybody.
    fn evict(&mut self, guest: &Guest<'_>) {
        let Guest { name, address, host, claimed } = *guest;
        let wait = |what: String, other: &str, awaited: &str| Refusal::Waiting {
            what,
            other: other.to_owned(),
            awaited: awaited.to_owned(),
        };
        match (self.ruling(name), self.ruling(host)) {
            (Ruling::Wrong, _) => {
                self.refuse(name, Refusal::Guest { address, claimed, other: host.to_owned() });
            }
            (_, Ruling::Right) => {
                self.refuse(name, Refusal::Within { address, claimed, other: host.to_owned() });
            }
            (Ruling::Right, Ruling::Wrong) => self.refuse(host, Refusal::Node { claimed, address }),
            (Ruling::Right, Ruling::New) => self.refuse(host, wait(claimed.to_string(), name, host)),
            (Ruling::Right, Ruling::Held) => {
                if !self.is_believed(name) {
                    self.refuse(name, wait(address.to_string(), host, host));
                }
            }
            (guest, _) => {
                if guest == Ruling::New {
                    self.refuse(name, wait(address.to_string(), host, name));
                }
                if !self.is_believed(host) {
                    self.refuse(host, wait(claimed.to_string(), name, name));
                }
            }
        }
    }

    /// Where no prefix is the cluster's by the admin's word, each claim needs that of its Node object.
    fn confirm_all(&mut self) {
        let sound = self.sound;
        for name in sound.keys() {
            match self.ruling(name) {
                Ruling::Wrong => self.refuse(name, Refusal::Unconfirmed),
                Ruling::New => self.refuse(name, Refusal::Unread),
                Ruling::Right | Ruling::Held => {}
            }
        }
    }

    /// Makes it known that the claim of `name` is disputed, and says how it stands.
    fn ruling(&mut self, name: &str) -> Ruling {
        let Some(claim) = self.claim(name) else { return Ruling::Wrong };
        self.outcome.disputed.insert(name.to_owned(), claim.clone());
        match self.verdicts.get(name).filter(|verdict| verdict.claim == *claim) {
            Some(verdict) if verdict.is_right => Ruling::Right,
            Some(_) => Ruling::Wrong,
            None if self.is_believed(name) => Ruling::Held,
            None => Ruling::New,
        }
    }

    fn is_believed(&self, name: &str) -> bool {
        self.claim(name).is_some_and(|claim| self.believed.get(name) == Some(&claim))
    }

    fn claim(&self, name: &str) -> Option<&'a Claim> {
        self.claims.get(name)?.as_ref().ok()
    }

    /// The first reason is the one that is told.
    fn refuse(&mut self, name: &str, refusal: Refusal) {
        if self.sound.contains_key(name) {
            self.outcome.losers.entry(name.to_owned()).or_insert(refusal);
        }
    }
}
