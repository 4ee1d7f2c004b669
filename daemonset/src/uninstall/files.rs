//! Files of the host: each goes only if it is ours by its name and by what it is.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tripod_cni::Dirs;

use super::Places;
use super::attachments::Remaining;
use super::kubelet::Reference;
use super::outcome::Object;
use crate::attachments;
use crate::hostfs::{Dir, HostFsError, Kind};
use crate::plan;
use crate::wireguard_key;

/// Longest conflist or CDI spec that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// Why a file stays, if it does.
type Verdict = Result<Option<&'static str>, HostFsError>;

/// Why a store stays, if it does.
type Stored = io::Result<Option<String>>;

/// Removes `name` from `folder` unless `judge` knows why not. What is not there is done.
fn remove(folder: &Path, name: &str, judge: impl FnOnce(&Dir, Kind) -> Verdict) -> Object {
    let path = folder.join(name);
    let path = path.display();
    let removed = Dir::open_existing(folder).and_then(|dir| {
        let Some(dir) = dir else { return Ok(None) };
        let kind = dir.kind(name)?;
        let reason = if kind == Kind::Absent { None } else { judge(&dir, kind)? };
        if reason.is_none() {
            dir.remove(name)?;
        }
        Ok(reason)
    });
    match removed {
        Ok(None) => Object::done(path),
        Ok(Some(reason)) => Object::kept(path, reason),
        Err(error) => Object::failed(path, &error),
    }
}

fn plain(_: &Dir, kind: Kind) -> Verdict {
    Ok((kind != Kind::File).then_some("it is no plain file, and so not ours"))
}

/// The conflist, if it names our plugin.
pub(super) fn conflist(path: &Path) -> Object {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Object::kept(path.display(), "it is no path of a conflist");
    };
    remove(folder, name, |dir, kind| {
        let is_ours = kind == Kind::File && names_plugin(&dir.read(name, LONGEST)?);
        Ok((!is_ours).then_some("it does not name tripod-cni, and so is not ours"))
    })
}

fn names_plugin(text: &[u8]) -> bool {
    let list: Value = serde_json::from_slice(text).unwrap_or_default();
    let plugins = list.get("plugins").and_then(Value::as_array);
    plugins
        .into_iter()
        .flatten()
        .any(|plugin| plugin.get("type").is_some_and(|kind| kind == plan::CNI_PLUGIN))
}

/// The marker that lets ADD work, then what the agent knew. Leases and records are the pods'.
pub(super) fn agent_state(state: &Path) -> Vec<Object> {
    ["ready", "agent.json", "agent.sock", wireguard_key::FILE]
        .map(|name| remove(state, name, |_, _| Ok(None)))
        .into()
}

/// Records of attachments and stores of leases: the pods' own, and so what goes once none of them is left.
pub(super) fn stores(state: &Path, remaining: &Remaining) -> Vec<Object> {
    let Dirs { attachments, leases } = attachments::dirs(state);
    let object = |path: PathBuf, remove: fn(&Path) -> Stored| match remaining.reason() {
        Some(reason) => Object::waiting(path.display(), reason),
        None => match remove(&path) {
            Ok(None) => Object::done(path.display()),
            Ok(Some(reason)) => Object::kept(path.display(), reason),
            Err(error) => Object::failed(path.display(), &error),
        },
    };
    vec![object(attachments, |path| gone(path).map(|()| None)), object(leases, empty)]
}

/// Removes the stores of networks in which nobody has a lease any more. Others' pods may have some.
fn empty(leases: &Path) -> Stored {
    let networks = match fs::read_dir(leases) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        networks => networks?.map(|network| Ok(network?.path())).collect::<io::Result<Vec<_>>>()?,
    };
    let mut held = Vec::new();
    for network in networks {
        if has_lease(&network)? {
            held.push(network.file_name().unwrap_or_default().to_string_lossy().into_owned());
        } else {
            gone(&network)?;
        }
    }
    if held.is_empty() {
        return gone(leases).map(|()| None);
    }
    Ok(Some(format!(
        "pods of other plugins have addresses of {}: remove it once they are gone",
        held.join(", ")
    )))
}

/// A lease is a file called like its address.
fn has_lease(store: &Path) -> io::Result<bool> {
    if !store.is_dir() {
        return Ok(false);
    }
    let names = fs::read_dir(store)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().any(|name| name.to_str().is_some_and(|name| name.parse::<IpAddr>().is_ok())))
}

/// Removes a file, or a folder with all that is in it. What is not there is gone.
fn gone(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Forwarding stays: what it was before is not known, and others may need it by now. So do what it takes to hear
/// a router all the same, and room for neighbours.
pub(super) fn sysctls(root: &Path) -> Vec<Object> {
    let is_on = |key: &&str| fs::read_to_string(root.join(key)).is_ok_and(|value| value.trim_end() == "1");
    let keys = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].into_iter().filter(is_on);
    let reason =
        "on, as others on this node may need it; with it stay accept_ra of uplinks and neigh/default";
    keys.map(|key| Object::kept(format!("net/{key}"), reason)).collect()
}

/// Configuration of what is gone by now. The credential provider's goes with that.
pub(super) fn node_config(etc: &Path) -> Vec<Object> {
    let ours = plan::CONFIGS.into_iter().filter(|name| *name != plan::CREDENTIAL_CONFIG);
    ours.map(|name| remove(etc, name, plain)).collect()
}

/// CDI specs by the names that the device plugin gives them: `tripod-` and the kind.
pub(super) fn cdi_specs(folder: &Path) -> Vec<Object> {
    let names = Dir::open_existing(folder).and_then(|dir| dir.map_or(Ok(Vec::new()), |dir| dir.names()));
    let names = match names {
        Ok(names) => names,
        Err(error) => return vec![Object::failed(folder.display(), &error)],
    };
    let ours = names.iter().filter(|name| name.starts_with("tripod-") && name.ends_with(".json"));
    let spec = |name: &String| {
        remove(folder, name, |dir, kind| {
            let is_ours = kind == Kind::File && is_named_after_kind(name, &dir.read(name, LONGEST)?);
            Ok((!is_ours).then_some("it is not named after its kind, and so not ours"))
        })
    };
    ours.map(spec).collect()
}

fn is_named_after_kind(name: &str, text: &[u8]) -> bool {
    let spec: Value = serde_json::from_slice(text).unwrap_or_default();
    let Some(kind) = spec.get("kind").and_then(Value::as_str) else { return false };
    let rest = name.strip_prefix(&format!("tripod-{}", kind.replace('/', "-")));
    let rest = rest.and_then(|rest| rest.strip_suffix(".json"));
    let is_hash = |hash: &str| hash.len() == 8 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_hash))
}

/// The provider and its configuration, unless a kubelet may refer to it.
pub(super) fn credential_provider(places: &Places, reference: &Reference) -> Vec<Object> {
    let files = [(&places.credential_bin, plan::CREDENTIAL_PROVIDER), (&places.etc, plan::CREDENTIAL_CONFIG)];
    let keep = |(folder, name): (&std::path::PathBuf, &str)| match reference {
        Reference::Possible(reason) if folder.join(name).exists() => {
            Object::kept(folder.join(name).display(), reason.clone())
        }
        _ => remove(folder, name, plain),
    };
    files.map(keep).into()
}

/// The plugin after its other names: a link that leads nowhere would be nobody's. A DEL needs all of them, also
/// that of another plugin's pod that has an address of ours. `state` holds the leases.
pub(super) fn plugins(folder: &Path, state: &Path, remaining: &Remaining) -> Vec<Object> {
    let lent = "pods of other plugins have addresses by it";
    let is_lent = attachments::dirs(state).leases.exists();
    let link = |_: &Dir, kind: Kind| {
        let is_ours = kind == Kind::Link(plan::CNI_PLUGIN.to_owned());
        Ok((!is_ours).then_some("it is no link to tripod-cni, and so not ours"))
    };
    let names = [plan::LOOPBACK, plan::IPAM, plan::CNI_PLUGIN];
    names
        .map(|name| match remaining.reason() {
            Some(reason) if folder.join(name).exists() => {
                Object::waiting(folder.join(name).display(), reason)
            }
            _ if is_lent && name != plan::LOOPBACK && folder.join(name).exists() => {
                Object::kept(folder.join(name).display(), lent)
            }
            _ if name == plan::CNI_PLUGIN => remove(folder, name, plain),
            _ => remove(folder, name, link),
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflist_is_ours_by_its_plugin() {
        assert!(names_plugin(br#"{"plugins": [{"type": "x"}, {"type": "tripod-cni"}]}"#));
        for text in [&b""[..], b"{}", br#"{"plugins": [{"type": "calico"}]}"#, br#"{"type": "tripod-cni"}"#] {
            assert!(!names_plugin(text));
        }
    }

    #[test]
    fn a_spec_is_ours_by_its_kind() {
        let text = br#"{"cdiVersion": "0.6.0", "kind": "example.com/serial"}"#;
        assert!(is_named_after_kind("tripod-example.com-serial.json", text));
        assert!(is_named_after_kind("tripod-example.com-serial-0123abcd.json", text));
        for name in ["tripod-mine.json", "tripod-example.com-serial-mine.json", "example.com-serial.json"] {
            assert!(!is_named_after_kind(name, text), "{name}");
        }
        assert!(!is_named_after_kind("tripod-example.com-serial.json", b"half"));
    }
}
