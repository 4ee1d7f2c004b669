//! What is offered: a card, or a partition of one.

use super::card::Card;
use super::kfd::Gpu;
use crate::config::criteria::{Properties, Property};
use crate::device::{DeviceNode, Found, Kind};
use crate::discovery::diagnosis::Diagnosis;
use crate::discovery::drm::Drm;
use crate::hostroot::HostRoot;

/// Through which all GPUs compute.
const KFD: &str = "/dev/kfd";

#[derive(Debug)]
pub(super) struct Part<'a> {
    card: &'a Card,
    /// Its number among the card's partitions; `None` of a whole card.
    pub(super) number: Option<u32>,
    pub(super) gpu: Option<&'a Gpu>,
    drm: Drm,
    /// What is wrong with it, and with its card.
    pub(super) diagnosis: Diagnosis,
}

impl<'a> Part<'a> {
    /// A whole card of which KFD tells nothing.
    pub(super) fn new(card: &'a Card, drm: Drm) -> Part<'a> {
        Part { card, number: None, gpu: None, drm, diagnosis: card.diagnosis.clone() }
    }

    pub(super) fn found(mut self, root: &HostRoot) -> Found {
        let card = self.card;
        let id = self.number.map_or_else(|| card.id.clone(), |number| format!("{}-{number}", card.id));
        let model = card.model.clone().or_else(|| self.gpu.and_then(|gpu| gpu.model.clone()));
        let whole = card.memory.filter(|_| self.number.is_none());
        let memory = self.gpu.and_then(|gpu| gpu.memory).or(whole);
        let shared = self.diagnosis.node(KFD, root);
        let nodes = self.nodes(root);
        let mut found = Found {
            vendor: Some("AMD".to_owned()),
            model: model.clone(),
            numa: card.function.numa,
            memory,
            parent: self.number.map(|_| card.id.clone()),
            nodes,
            health: self.diagnosis.health(),
            vitals: card.function.vitals.clone(),
            properties: properties(card, &id, model),
            ..Found::new(Kind::Amd, &id, &id)
        };
        found.edits.nodes.extend(shared);
        found
    }

    fn nodes(&mut self, root: &HostRoot) -> Vec<DeviceNode> {
        if self.drm.render.is_none() {
            self.diagnosis.add("the driver has made no render node for it");
        }
        self.drm.paths().iter().filter_map(|path| self.diagnosis.node(path, root)).collect()
    }
}

fn properties(card: &Card, id: &str, model: Option<String>) -> Properties {
    let known = [
        (Property::Uuid, Some(id.to_owned())),
        (Property::Model, model),
        (Property::Address, Some(card.function.address.clone())),
        (Property::Device, Some(card.function.device.clone())),
        (Property::Profile, card.profile.clone()),
    ];
    known.into_iter().filter_map(|(property, value)| Some((property, value?))).collect()
}
