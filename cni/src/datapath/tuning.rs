//! Kernel parameters of the pod's namespace that the configuration asks for.
//!
//! They are a beginning, not a state: a pod with the right to may change its own, so nothing restores or
//! verifies them, and they end with the namespace.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Parameter;
use crate::error::Error;
use crate::netns::Netns;
use crate::sysctl;

/// Sets `parameters` in `netns`, where `ifname` is the pod's interface.
pub(crate) fn set(netns: &Netns, parameters: &[Parameter], ifname: &str) -> Result<(), Error> {
    if parameters.is_empty() {
        return Ok(());
    }
    if netns.is_own()? {
        let problem = "would change the node: the sandbox is the node's own network namespace";
        let asked: BTreeMap<_, _> = parameters.iter().map(|one| (&one.key, &one.value)).collect();
        return Err(Error::config("sysctl", serde_json::json!(asked), problem));
    }
    let set = || parameters.iter().try_for_each(|parameter| set_one(parameter, ifname));
    netns.visit(|| Ok(set()))?.map_err(Error::kernel("enter", "the sandbox"))?
}

fn set_one(parameter: &Parameter, ifname: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(parameter.path(ifname));
    sysctl::write(&path, &parameter.value).map_err(Error::kernel(
        "set in the sandbox sysctl",
        format!("{}={:?} ({})", parameter.key, parameter.value, path.display()),
    ))
}
