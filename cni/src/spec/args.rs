//! The environment of one call, as the runtime sets it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Error;
use crate::spec::is_name;

/// The caller's environment. Read once in `main`, so that everything below it is a function of values.
pub type Env = BTreeMap<String, String>;

/// The verbs of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a sandbox to the network.
    Add,
    /// Undo an attachment; succeeds when there is none.
    Del,
    /// Verify that an attachment is still whole.
    Check,
    /// Release what belongs to no attachment of a given list.
    Gc,
    /// Whether an ADD could work now.
    Status,
    /// Which versions are spoken.
    Version,
}

/// Which pod an attachment is for, where the runtime says so in `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
}

/// The checked environment of a call. Which fields are set depends on the verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for verbs that name no attachment.
    pub container_id: String,
    /// `CNI_NETNS`; absent when empty, as it is on DEL after a reboot.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`; empty for verbs that name no attachment.
    pub ifname: String,
    /// The pod, by `CNI_ARGS`.
    pub pod: Option<PodName>,
    /// `CNI_PATH`: where plugins are found that we execute.
    pub path: Vec<PathBuf>,
    /// `IP` of `CNI_ARGS`: addresses asked for, separated by commas.
    pub ip: Option<String>,
    /// `MAC` of `CNI_ARGS`: the hardware address asked for.
    pub mac: Option<String>,
    /// `CNI_NETNS_OVERRIDE`: the sandbox may be the namespace that the plugin itself runs in.
    pub netns_override: bool,
}

impl Command {
    fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            "VERSION" => Ok(Self::Version),
            _ => Err(Error::environment(
                "CNI_COMMAND",
                text,
                "is none of ADD, DEL, CHECK, GC, STATUS, VERSION",
            )),
        }
    }

    fn names_an_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }

    fn needs_netns(self) -> bool {
        matches!(self, Self::Add | Self::Check)
    }
}

impl Args {
    /// Reads and checks the environment. `None` when there is nothing of CNI's in it, which means that a
    /// person started the program.
    pub fn parse(env: &Env) -> Result<Option<Self>, Error> {
        let Some(command) = env.get("CNI_COMMAND").filter(|value| !value.is_empty()) else {
            let meant = env.keys().any(|name| name.starts_with("CNI_"));
            return if meant {
                Err(Error::Unset { name: "CNI_COMMAND", needed: "it must name a verb" })
            } else {
                Ok(None)
            };
        };
        let command = Command::parse(command)?;
        let value = |name: &str| env.get(name).cloned().unwrap_or_default();
        let args = Self {
            command,
            container_id: value("CNI_CONTAINERID"),
            netns: env.get("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from),
            ifname: value("CNI_IFNAME"),
            pod: pod_name(&value("CNI_ARGS")),
            path: value("CNI_PATH").split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
            ip: cni_arg(&value("CNI_ARGS"), "IP"),
            mac: cni_arg(&value("CNI_ARGS"), "MAC"),
            netns_override: matches!(value("CNI_NETNS_OVERRIDE").as_str(), "1" | "true" | "TRUE" | "True"),
        };
        args.check()?;
        Ok(Some(args))
    }

    fn check(&self) -> Result<(), Error> {
        if !self.command.names_an_attachment() {
            return Ok(());
        }
        let named = [("CNI_CONTAINERID", &self.container_id), ("CNI_IFNAME", &self.ifname)];
        if let Some((name, _)) = named.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(Error::Unset { name, needed: "it tells which attachment is meant" });
        }
        if !is_name(&self.container_id) {
            let problem = "is not letters, digits, '.', '_' and '-', beginning with a letter or digit";
            return Err(Error::environment("CNI_CONTAINERID", &self.container_id, problem));
        }
        if !is_ifname(&self.ifname) {
            return Err(Error::environment("CNI_IFNAME", &self.ifname, NO_IFNAME));
        }
        if self.command.needs_netns() && self.netns.is_none() {
            let needed = "it must name the sandbox's network namespace";
            return Err(Error::Unset { name: "CNI_NETNS", needed });
        }
        Ok(())
    }
}

fn pod_name(cni_args: &str) -> Option<PodName> {
    // Longer ones than Kubernetes allows are no pod's, and the record has no room for them.
    let find = |key, longest| cni_arg(cni_args, key).filter(|value| value.len() <= longest);
    Some(PodName { namespace: find("K8S_POD_NAMESPACE", 63)?, name: find("K8S_POD_NAME", 253)? })
}

/// Of `K=V;K=V`, in any order; other keys are for other plugins. An empty value says nothing.
fn cni_arg(cni_args: &str, key: &str) -> Option<String> {
    let mut pairs = cni_args.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// What is wrong with a name that is none by [`is_ifname`].
pub(crate) const NO_IFNAME: &str =
    "is no interface name: 1 to 15 bytes, without '/', ':', '%', spaces and control characters";

/// The kernel's `dev_valid_name`: at most 15 bytes (`IFNAMSIZ` holds the terminating zero too), and nothing
/// that its `isspace` takes for a space, which reads Latin-1 and so finds one in the second byte of 'à'.
/// Stricter than it: of `eth%d` the kernel would make a name of its own, of which nobody could undo what
/// was done to it, and control characters spoil whatever prints the name.
pub(crate) fn is_ifname(name: &str) -> bool {
    /// A space that does not break a line, in Latin-1.
    const NO_BREAK_SPACE: u8 = 0xa0;
    !["", ".", ".."].contains(&name)
        && name.len() <= 15
        && !name.contains(|char: char| "/:% ".contains(char) || char.is_control())
        && !name.bytes().any(|byte| byte == NO_BREAK_SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn add() -> Env {
        env(&[
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/proc/1/ns/net"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop"),
        ])
    }

    #[test]
    fn a_complete_environment_is_read() {
        let args = Args::parse(&add()).unwrap().unwrap();
        assert_eq!(args.command, Command::Add);
        assert_eq!(args.pod, Some(PodName { namespace: "shop".into(), name: "web".into() }));
        assert!(!args.netns_override);
    }

    #[test]
    fn each_missing_or_malformed_variable_is_named() {
        for (name, value) in [
            ("CNI_COMMAND", "add"),
            ("CNI_COMMAND", ""),
            ("CNI_CONTAINERID", ""),
            ("CNI_CONTAINERID", "../etc"),
            ("CNI_IFNAME", ""),
            ("CNI_IFNAME", "sixteen-letters-"),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", ".."),
            ("CNI_IFNAME", "eth%d"),
            ("CNI_NETNS", ""),
        ] {
            let mut env = add();
            env.insert(name.to_owned(), value.to_owned());
            let error = Args::parse(&env).unwrap_err();
            assert_eq!(error.code(), 4, "{name}={value}");
            let said =
                if value.is_empty() { format!("{name} is missing") } else { format!("{name}={value:?}") };
            assert!(error.to_string().contains(&said), "{error}");
        }
    }

    #[test]
    fn an_interface_has_the_name_that_was_asked_for_or_none() {
        for good in ["eth0", "a", "fifteen-letters", "br.100", "ü", "veth@1", "eth0-\u{20ac}"] {
            assert!(is_ifname(good), "{good:?}");
        }
        let bad = ["br%d", "eth%d", "%", "a:1", "a b", "a\tb", "a\u{b}b", "a\0", "a\u{1b}[m", "a\u{7f}"];
        for bad in bad.into_iter().chain(["à", "a\u{a0}b", "a\u{85}b", "", ".", "..", "a/b"]) {
            assert!(!is_ifname(bad), "{bad:?}");
        }
    }

    #[test]
    fn del_works_without_a_namespace_and_version_without_anything() {
        let mut del = add();
        del.insert("CNI_COMMAND".into(), "DEL".into());
        del.insert("CNI_NETNS".into(), String::new());
        assert_eq!(Args::parse(&del).unwrap().unwrap().netns, None);
        assert!(Args::parse(&env(&[("CNI_COMMAND", "VERSION")])).unwrap().is_some());
        assert!(Args::parse(&env(&[("PATH", "/bin")])).unwrap().is_none());
    }

    #[test]
    fn a_pod_whose_name_kubernetes_would_not_allow_has_none() {
        let pod = |length| pod_name(&format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={}", "w".repeat(length)));
        assert!(pod(253).is_some() && pod(254).is_none());
    }
}
