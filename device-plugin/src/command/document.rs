//! The document that `discover` prints and `prefer` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The only version there is.
pub(crate) const VERSION: &str = "v1";

/// All that is offered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) version: String,
    pub(crate) devices: Vec<Row>,
}

/// One advertised id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) resource: String,
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) vendor: Option<String>,
    #[serde(default)]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) numa: Option<u32>,
    /// Bytes.
    #[serde(default)]
    pub(crate) memory: Option<u64>,
    /// The key of the card it is a part of.
    #[serde(default)]
    pub(crate) parent: Option<String>,
    pub(crate) health: String,
    #[serde(default)]
    pub(crate) nodes: Vec<String>,
    /// Other devices of the resource by id without replica suffix, or cards by key, with the weight of the
    /// link to them.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, u32>,
}
