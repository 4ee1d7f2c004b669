//! The objects of a cluster, and what was done to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::watch;

/// The cluster's objects and what was done to them; outlives the API servers that show it.
#[derive(Clone, Debug, Default)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<Stored>,
    version: watch::Sender<u64>,
}

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Node,
    TripodNode,
    ServiceCidr,
}

impl Kind {
    pub(super) fn words(self) -> [&'static str; 2] {
        match self {
            Self::Node => ["v1", "Node"],
            Self::ServiceCidr => ["networking.k8s.io/v1", "ServiceCIDR"],
            Self::TripodNode => ["tripod.dev/v1alpha1", "TripodNode"],
        }
    }
}

/// A change of an object.
#[derive(Debug)]
pub(super) struct Event {
    version: u64,
    pub(super) kind: Kind,
    pub(super) name: String,
    document: Value,
}

#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) objects: BTreeMap<(Kind, String), Value>,
    pub(super) events: Vec<Event>,
    /// Whether the cluster knows no TripodNodes.
    pub(super) lacks_tripod_nodes: bool,
    pub(super) lists_of_tripod_nodes: usize,
    /// Whether reading a single Node fails.
    pub(super) fails_reads: bool,
    /// Whether who asks for all Nodes gets them, which an agent may not.
    pub(super) shows_all_nodes: bool,
    pub(super) requests: usize,
    pub(super) patches: Vec<Value>,
    pub(super) node_patches: Vec<Value>,
    pub(super) refuse_patches: bool,
    pub(super) written_events: Vec<Value>,
    pub(super) compacted: u64,
    /// How many seconds the cluster's clock is ahead.
    pub(super) clock_ahead: u64,
}

impl Default for Shared {
    fn default() -> Self {
        Self { state: Mutex::default(), version: watch::channel(1).0 }
    }
}

impl Cluster {
    /// Sets the clock of the API servers ahead of this machine's.
    pub fn set_clock_ahead(&self, seconds: u64) {
        self.state().clock_ahead = seconds;
    }

    /// Makes a Node or replaces it, or deletes every one.
    pub fn set_node(&self, node: Option<Value>) {
        let mut state = self.state();
        match node {
            Some(node) => self.store(&mut state, Kind::Node, &name_of(&node), Some(node)),
            None => {
                let names: Vec<_> =
                    state.objects.keys().filter(|(kind, _)| *kind == Kind::Node).cloned().collect();
                names.iter().for_each(|(_, name)| self.store(&mut state, Kind::Node, name, None));
            }
        }
    }

    /// Makes a ServiceCIDR or replaces it. Without any the cluster is one that does not know them.
    pub fn set_service_cidr(&self, object: Value) {
        self.store(&mut self.state(), Kind::ServiceCidr, &name_of(&object), Some(object));
    }

    /// Makes a TripodNode or replaces it.
    pub fn set_tripod_node(&self, object: Value) {
        self.store(&mut self.state(), Kind::TripodNode, &name_of(&object), Some(object));
    }

    /// Deletes a TripodNode.
    pub fn delete_tripod_node(&self, name: &str) {
        self.store(&mut self.state(), Kind::TripodNode, name, None);
    }

    /// The TripodNode of this name.
    pub fn tripod_node(&self, name: &str) -> Option<Value> {
        self.state().objects.get(&(Kind::TripodNode, name.to_owned())).cloned()
    }

    /// Whether the definition of TripodNodes is missing, from now on.
    pub fn lack_tripod_nodes(&self, lacks: bool) {
        self.state().lacks_tripod_nodes = lacks;
    }

    /// How often all TripodNodes were listed.
    pub fn lists_of_tripod_nodes(&self) -> usize {
        self.state().lists_of_tripod_nodes
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// Lets all Nodes be listed and watched, from now on: agents may not.
    pub fn show_all_nodes(&self) {
        self.state().shows_all_nodes = true;
    }

    /// Fails, from now on, to read single Nodes; watches go on.
    pub fn fail_reads(&self, fail: bool) {
        self.state().fails_reads = fail;
    }

    pub(super) fn store(&self, state: &mut Stored, kind: Kind, name: &str, object: Option<Value>) {
        let version = *self.0.version.borrow() + 1;
        let key = (kind, name.to_owned());
        let (event, object) = match (state.objects.get(&key), object) {
            (None, None) => return,
            (Some(old), None) => ("DELETED", old.clone()),
            (None, Some(object)) => ("ADDED", object),
            (Some(_), Some(object)) => ("MODIFIED", object),
        };
        let object = versioned(kind, object, version);
        match event {
            "DELETED" => drop(state.objects.remove(&key)),
            _ => drop(state.objects.insert(key, object.clone())),
        }
        let document = json!({"type": event, "object": object});
        state.events.push(Event { version, kind, name: name.to_owned(), document });
        self.0.version.send_replace(version);
    }

    /// Forgets the history, so that every watch that goes on from it is answered 410.
    pub fn compact(&self) {
        let version = *self.0.version.borrow() + 1;
        self.state().compacted = version;
        self.0.version.send_replace(version);
    }

    /// Refuses patches from now on, as RBAC does, or stops refusing.
    pub fn refuse_patches(&self, refuse: bool) {
        self.state().refuse_patches = refuse;
    }

    /// The events that were written so far, of `events.k8s.io/v1`.
    pub fn written_events(&self) -> Vec<Value> {
        self.state().written_events.clone()
    }

    /// The bodies of the patches so far.
    pub fn patches(&self) -> Vec<Value> {
        self.state().patches.clone()
    }

    /// The bodies of the JSON patches of Nodes that were taken so far.
    pub fn node_patches(&self) -> Vec<Value> {
        self.state().node_patches.clone()
    }

    /// The Node of this name.
    pub fn node(&self, name: &str) -> Option<Value> {
        self.state().objects.get(&(Kind::Node, name.to_owned())).cloned()
    }

    /// What a list says that it is of.
    pub fn version(&self) -> u64 {
        *self.0.version.borrow()
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.0.state.lock().expect("no request panics")
    }

    /// Events after `version` of the objects that `shown` names, once there are any of whatever kind.
    pub(super) async fn events_after(&self, version: u64, shown: &Shown) -> (Vec<Value>, u64) {
        let mut versions = self.0.version.subscribe();
        let latest = *versions.wait_for(|latest| *latest > version).await.expect("the cluster lives");
        let state = self.state();
        if state.compacted > version {
            let gone = status(410, "Expired", "too old resource version");
            return (vec![json!({"type": "ERROR", "object": gone})], latest);
        }
        let later = state.events.iter().filter(|event| event.version > version);
        let shown = later.filter(|event| shown.has(event.kind, &event.name));
        (shown.map(|event| event.document.clone()).collect(), latest)
    }
}

/// What a list or watch is about.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) kind: Kind,
    /// One object alone.
    pub(super) name: Option<String>,
}

impl Shown {
    pub(super) fn has(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name.as_ref().is_none_or(|only| only == name)
    }
}

pub(super) fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn versioned(kind: Kind, mut object: Value, version: u64) -> Value {
    let [api_version, kind] = kind.words();
    object["kind"] = kind.into();
    object["apiVersion"] = api_version.into();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code})
}
