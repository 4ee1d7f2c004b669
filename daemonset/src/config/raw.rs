//! The text of `node.yaml` as it is written, and the only bridge from it to a checked [`NodeConfig`].

use std::fmt;
use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_saphyr::{Error, Location, Spanned};

use super::{
    Backend, ChecksumOffload, ConfigError, ForwardDrop, MOST_ENTRIES, Masquerading, NodeConfig, Place, Vxlan,
    WireguardSettings,
};

type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Raw {
    version: Text,
    #[serde(default)]
    api_servers: Vec<Text>,
    #[serde(default, rename = "clusterCIDRs")]
    cluster_cidrs: Vec<Text>,
    backend: Option<Text>,
    mtu: Option<Spanned<u32>>,
    masquerade: Option<RawMasquerade>,
    vxlan: Option<RawVxlan>,
    wireguard: Option<RawWireguard>,
    forward_drop: Option<Text>,
    platform: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMasquerade {
    enabled: Option<bool>,
    #[serde(default)]
    exclude: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawVxlan {
    vni: Option<Spanned<u32>>,
    port: Option<Spanned<u16>>,
    checksum_offload: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawWireguard {
    port: Option<Spanned<u16>>,
}

impl Raw {
    pub(super) fn check(self, file: &str) -> Result<NodeConfig, ConfigError> {
        let check = Check { file };
        check.word("version", Some(&self.version), &["v1"])?;
        check.word("backend", self.backend.as_ref(), &["auto", "direct", "vxlan", "wireguard"])?;
        check.word("forwardDrop", self.forward_drop.as_ref(), &["report", "repair"])?;
        check.platform(self.platform.as_ref())?;
        let masquerade =
            self.masquerade.map_or_else(|| Ok(Masquerading::default()), |it| check.masquerade(&it));
        Ok(NodeConfig {
            api_servers: check.list("apiServers", &self.api_servers, Check::api_server)?,
            cluster_cidrs: check.list("clusterCIDRs", &self.cluster_cidrs, Check::prefix)?,
            backend: self.backend.as_ref().map(|text| backend(&text.value)).unwrap_or_default(),
            vxlan: self.vxlan.map_or_else(|| Ok(Vxlan::default()), |it| check.vxlan(it))?,
            wireguard: check.wireguard(self.wireguard)?,
            mtu: check.mtu(self.mtu)?,
            masquerade: masquerade?,
            forward_drop: match self.forward_drop {
                Some(word) if word.value == "repair" => ForwardDrop::Repair,
                _ => ForwardDrop::Report,
            },
        })
    }
}

fn checksum_offload(word: &str) -> ChecksumOffload {
    match word {
        "on" => ChecksumOffload::On,
        "off" => ChecksumOffload::Off,
        _ => ChecksumOffload::Auto,
    }
}

/// Checks values and says where they stand when they cannot be.
struct Check<'a> {
    file: &'a str,
}

impl Check<'_> {
    fn refuse<T>(
        &self,
        key: &'static str,
        at: Location,
        value: String,
        problem: String,
    ) -> Result<T, ConfigError> {
        Err(ConfigError::Value { place: place(self.file, at), key, value, problem })
    }

    /// A key that has several words.
    fn word(&self, key: &'static str, text: Option<&Text>, words: &[&str]) -> Result<(), ConfigError> {
        let Some(text) = text.filter(|text| !words.contains(&text.value.as_str())) else { return Ok(()) };
        let problem = format!("is no {key}; set {}", words.join(" or "));
        self.refuse(key, text.referenced, text.value.clone(), problem)
    }

    /// Where things lie on a host every program is told by flags, so that there is nothing left to say here.
    fn platform(&self, text: Option<&Text>) -> Result<(), ConfigError> {
        let Some(text) = text.filter(|text| text.value != "auto") else { return Ok(()) };
        let problem = "is for the chart to know: install with --set platform=…, and leave the key out here";
        self.refuse("platform", text.referenced, text.value.clone(), problem.to_owned())
    }

    fn vxlan(&self, raw: RawVxlan) -> Result<Vxlan, ConfigError> {
        let offload = raw.checksum_offload;
        self.word("vxlan.checksumOffload", offload.as_ref(), &["auto", "on", "off"])?;
        let Vxlan { vni, port, .. } = Vxlan::default();
        Ok(Vxlan {
            vni: self.number("vxlan.vni", raw.vni, 1..=0xff_ffff)?.unwrap_or(vni),
            port: self.number("vxlan.port", raw.port, 1..=u16::MAX)?.unwrap_or(port),
            checksum_offload: offload.map(|text| checksum_offload(&text.value)).unwrap_or_default(),
        })
    }

    fn wireguard(&self, raw: Option<RawWireguard>) -> Result<WireguardSettings, ConfigError> {
        let port = self.number("wireguard.port", raw.and_then(|raw| raw.port), 1..=u16::MAX)?;
        Ok(port.map_or_else(WireguardSettings::default, |port| WireguardSettings { port }))
    }

    fn number<T: Copy + PartialOrd + fmt::Display>(
        &self,
        key: &'static str,
        number: Option<Spanned<T>>,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ConfigError> {
        match number {
            Some(number) if !range.contains(&number.value) => {
                let problem = format!("is out of range; set {} to {}", range.start(), range.end());
                self.refuse(key, number.referenced, number.value.to_string(), problem)
            }
            number => Ok(number.map(|number| number.value)),
        }
    }

    fn masquerade(&self, raw: &RawMasquerade) -> Result<Masquerading, ConfigError> {
        let exclude = self.list("masquerade.exclude", &raw.exclude, Check::prefix)?;
        Ok(Masquerading { enabled: raw.enabled.unwrap_or(true), exclude })
    }

    fn mtu(&self, mtu: Option<Spanned<u32>>) -> Result<Option<u32>, ConfigError> {
        match mtu {
            None => Ok(None),
            Some(mtu) if mtu.value == 0 => Ok(None),
            Some(mtu) if (1280..=65535).contains(&mtu.value) => Ok(Some(mtu.value)),
            Some(mtu) => {
                let problem = "is no MTU for pods; set 0 (found per node) or 1280 to 65535".to_owned();
                self.refuse("mtu", mtu.referenced, mtu.value.to_string(), problem)
            }
        }
    }

    fn list<T>(
        &self,
        key: &'static str,
        texts: &[Text],
        one: impl Fn(&Self, &'static str, &Text) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        if texts.len() > MOST_ENTRIES {
            return Err(ConfigError::TooMany { file: self.file.to_owned(), key, count: texts.len() });
        }
        texts.iter().map(|text| one(self, key, text)).collect()
    }

    fn prefix(&self, key: &'static str, text: &Text) -> Result<IpNetwork, ConfigError> {
        let problem = match text.value.parse::<IpNetwork>() {
            Ok(prefix) if !text.value.contains('/') => format!("has no prefix length; write {prefix}"),
            Ok(prefix) if prefix.network() == prefix.ip() => return Ok(prefix),
            Ok(prefix) => format!("has host bits set; write {}/{}", prefix.network(), prefix.prefix()),
            Err(_) => "is no CIDR; write for example 10.244.0.0/16".to_owned(),
        };
        self.refuse(key, text.referenced, text.value.clone(), problem)
    }

    fn api_server(&self, key: &'static str, text: &Text) -> Result<String, ConfigError> {
        let address = text.value.trim_end_matches('/');
        let problem = match address.strip_prefix("https://") {
            // Whatever stands before the @ may be a password, so the value is not repeated.
            _ if address.contains('@') => {
                let problem = "must not carry a user or password; the agent signs in with its token";
                return self.refuse(key, text.referenced, "https://…@…".to_owned(), problem.to_owned());
            }
            None => "must begin with https://",
            Some(rest) if rest.contains(['/', '?', '#']) => "must end after the port, without a path",
            Some(_) => match address.parse::<axum::http::Uri>() {
                Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => return Ok(address.to_owned()),
                _ => "is no URL; write for example https://192.0.2.10:6443",
            },
        };
        self.refuse(key, text.referenced, text.value.clone(), problem.to_owned())
    }
}

/// What a word that was checked before means.
fn backend(word: &str) -> Backend {
    match word {
        "direct" => Backend::Direct,
        "vxlan" => Backend::Vxlan,
        "wireguard" => Backend::Wireguard,
        _ => Backend::Auto,
    }
}

fn place(file: &str, at: Location) -> Place {
    Place { file: file.to_owned(), line: at.line(), column: at.column() }
}

/// The parser's refusal in our words where it names a key, in its own otherwise.
pub(super) fn refusal(file: &str, error: &Error) -> ConfigError {
    let place = place(file, error.location().unwrap_or(Location::UNKNOWN));
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            ConfigError::UnknownKey { place, key: field.clone(), known: expected.clone() }
        }
        Error::SerdeMissingField { field, .. } => {
            ConfigError::Shape { place, problem: format!("key {field:?} is missing") }
        }
        other => ConfigError::Shape { place, problem: without_place(&other.to_string()) },
    }
}

/// The parser ends its messages with the place, which stands in front already.
fn without_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}
