//! What a PCI function is to the network.

use std::collections::HashSet;

use super::function::Function;
use crate::hostroot::HostRoot;

/// `ARPHRD_ETHER` and `ARPHRD_INFINIBAND` of the kernel's `if_arp.h`, as `/sys/class/net/*/type` says them.
const LINK_TYPES: [(&str, &str); 2] = [("1", "ethernet"), ("32", "infiniband")];
/// `IFF_UP` of the kernel's `if.h`, as `/sys/class/net/*/flags` says it.
const UP: u32 = 1;
/// Most virtual functions of one card (PCIe: `NumVFs` has 16 bits).
const MAX_FUNCTIONS: usize = 65_535;

/// The network side of a function; empty of one that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its interfaces, as far as they are in the node's network namespace.
    pub(super) names: Vec<String>,
    /// Of a virtual function: its number, and its physical function's interface when that is known.
    pub(super) virtual_function: Option<(usize, Option<String>)>,
    pub(super) has_virtual_functions: bool,
    pub(super) link_type: Option<&'static str>,
    /// The interface whose link is down: its own, or its physical function's.
    pub(super) down: Option<String>,
}

impl Interface {
    /// Reads what `/sys` knows of `function`. A virtual function's interface may be in a pod; its physical
    /// function's stays on the node and tells the rest.
    pub(super) fn of(function: &Function, root: &HostRoot) -> Interface {
        let names = names(&function.folder, root);
        let physical = format!("{}/physfn", function.folder);
        let Some(number) = number(function, &physical, root) else {
            let count = root.attribute(&format!("{}/sriov_numvfs", function.folder)).ok().flatten();
            let has_virtual_functions = count.is_some_and(|count| count != "0");
            let state = state(&function.folder, names.first(), root);
            return Interface { names, has_virtual_functions, ..state };
        };
        let pf = self::names(&physical, root).into_iter().next();
        let state = state(&physical, pf.as_ref(), root);
        Interface { names, virtual_function: Some((number, pf)), ..state }
    }

    /// `eth0` of a physical function, `eth0#3` of a virtual one.
    pub(super) fn pf_name(&self) -> Option<String> {
        match &self.virtual_function {
            Some((number, pf)) => pf.as_ref().map(|pf| format!("{pf}#{number}")),
            None => self.names.first().cloned(),
        }
    }
}

fn names(folder: &str, root: &HostRoot) -> Vec<String> {
    root.names(&format!("{folder}/net")).unwrap_or_default()
}

/// The number by which its physical function, at `physical`, knows `function`.
fn number(function: &Function, physical: &str, root: &HostRoot) -> Option<usize> {
    root.link_name(physical)?;
    let is_it =
        |name: &String| root.link_name(&format!("{physical}/{name}")).as_ref() == Some(&function.address);
    let names = root.names(physical).unwrap_or_default();
    let link = names
        .iter()
        .filter(|name| name.starts_with("virtfn"))
        .take(MAX_FUNCTIONS)
        .find(|name| is_it(name))?;
    link.strip_prefix("virtfn")?.parse().ok()
}

/// Link type and state of the interface `name` at `folder`.
fn state(folder: &str, name: Option<&String>, root: &HostRoot) -> Interface {
    let Some(name) = name else { return Interface::default() };
    let read = |attribute: &str| root.attribute(&format!("{folder}/net/{name}/{attribute}")).ok().flatten();
    let number = read("type");
    let link_type =
        LINK_TYPES.iter().find(|(known, _)| number.as_deref() == Some(*known)).map(|(_, word)| *word);
    // An interface that nobody has brought up says the same, and nothing is wrong with its card.
    let up = read("flags").and_then(|flags| u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok());
    let is_up = up.is_some_and(|flags| flags & UP != 0);
    let down = (is_up && read("operstate").as_deref() == Some("down")).then(|| name.clone());
    Interface { link_type, down, ..Interface::default() }
}

/// The interfaces that carry the node's default routes.
pub(super) fn with_default_route(root: &HostRoot) -> HashSet<String> {
    let lines = |path: &str| root.table(path).unwrap_or_default();
    // Interface, destination, gateway, flags, three counters, mask; numbers in hexadecimal.
    let four = lines("/proc/net/route");
    let four = four.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let four = four.filter_map(|f| {
        (f.get(1) == Some(&"00000000") && f.get(7) == Some(&"00000000"))
            .then(|| f.first().copied().map(str::to_owned))?
    });
    // Destination, its prefix length, …, interface last.
    let six = lines("/proc/net/ipv6_route");
    let six = six.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let six = six.filter_map(|f| {
        let default = f.first().is_some_and(|destination| destination.bytes().all(|byte| byte == b'0'));
        (default && f.get(1) == Some(&"00")).then(|| f.last().copied().map(str::to_owned))?
    });
    four.chain(six).collect()
}
