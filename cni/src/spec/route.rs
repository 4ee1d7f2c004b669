//! One route of a pod, as configurations and results write it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::spec::Version;

/// One route of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// Destination prefix.
    pub dst: IpNetwork,
    /// Next hop; the gateway of the family's address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// What else a route may say.
    #[serde(flatten)]
    pub options: RouteOptions,
}

/// The keys of a route that 1.1.0 added to results. A configuration may have them in any version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteOptions {
    /// Largest packet along the route, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Largest TCP segment announced along it, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Lower ones win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table; the main one (254) when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// `RT_SCOPE_UNIVERSE` (0), `_LINK` (253) or `_HOST` (254).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing special to it.
    pub(crate) fn to(dst: IpNetwork, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, options: RouteOptions::default() }
    }

    pub(super) fn render(&self, version: Version) -> Value {
        let options = if version < Version::V1_1_0 { RouteOptions::default() } else { self.options };
        json!(Self { options, ..self.clone() })
    }
}
