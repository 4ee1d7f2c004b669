//! Key `mode`: how pods are connected, with the keys that belong to one mode alone. No I/O.

use serde_json::Value;

use super::bridge::{self, Bridge};
use super::raw::Object;
use super::{is_empty, json};
use crate::error::Error;

/// How a pod is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A link of its own, to which the node routes.
    Routed,
    /// A port of a bridge.
    Bridge(Bridge),
}

impl Mode {
    /// The interface that all pods share on the node, if they share one.
    pub(crate) fn shared_device(&self) -> Option<String> {
        match self {
            Self::Routed => None,
            Self::Bridge(bridge) => Some(bridge.gateway_device()),
        }
    }

    /// Checks `mode` and what belongs to it. Routed is the default.
    pub(super) fn complete(object: &Object) -> Result<Self, Error> {
        match object.get::<String>("mode")?.as_deref().unwrap_or("routed") {
            "routed" => {
                refuse(object, &bridge::KEYS, "belongs to \"mode\": \"bridge\"; set that, or take it out")?;
                Ok(Self::Routed)
            }
            "bridge" => Bridge::complete(object).map(Self::Bridge),
            other => Err(Error::config(
                "mode",
                json(other),
                "is not available; use \"routed\", \"bridge\" or \"chained\"",
            )),
        }
    }
}

/// Ignoring a key that asks for another network than the pods get would be worse than an error.
pub(super) fn refuse(object: &Object, keys: &[&str], problem: &str) -> Result<(), Error> {
    let asks = |value: &Value| !is_empty(value) && *value != Value::Bool(false) && value.as_i64() != Some(0);
    match object.keys().find(|(key, value)| keys.contains(&key.as_str()) && asks(value)) {
        Some((key, value)) => Err(Error::config(key, json(value), problem)),
        None => Ok(()),
    }
}
