//! Which files the installer wants on the host, and in which order. Pure.

use std::path::{Path, PathBuf};

/// The programs that the container runtime and the kubelet execute on the host.
pub const CNI_PLUGIN: &str = "tripod-cni";
/// See [`CNI_PLUGIN`].
pub const CREDENTIAL_PROVIDER: &str = "tripod-credential-provider";

/// The name under which the plugin manages addresses alone, for other main plugins.
pub const IPAM: &str = "tripod-ipam";

/// The reference plugin of this name brings up `lo` in each pod; where a node has none, ours does.
pub const LOOPBACK: &str = "loopback";

/// The keys of the ConfigMap that become files of the host.
pub const CONFIGS: [&str; 3] = ["node.yaml", "device-plugin.yaml", CREDENTIAL_CONFIG];

/// The name of every file there can be.
pub const NAMES: [&str; 7] =
    [CNI_PLUGIN, IPAM, LOOPBACK, CREDENTIAL_PROVIDER, CONFIGS[0], CONFIGS[1], CONFIGS[2]];

/// Configuration of the credential provider.
pub const CREDENTIAL_CONFIG: &str = "credential-provider.yaml";

/// Where things come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The image's folder of programs.
    pub source: PathBuf,
    /// The mounted ConfigMap, if any.
    pub config: Option<PathBuf>,
    /// Where the runtime finds CNI plugins.
    pub cni_bin: PathBuf,
    /// Where the kubelet finds credential providers.
    pub credential_bin: PathBuf,
    /// Where the programs find their configuration.
    pub etc: PathBuf,
    /// Which programs are wanted.
    pub legs: Legs,
}

/// The legs that have programs on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legs {
    /// The CNI plugin and its other names.
    pub cni: bool,
    /// The credential provider.
    pub credential_provider: bool,
}

impl HostFile {
    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }
}

impl Places {
    /// The folders that are written to.
    pub fn targets(&self) -> Vec<&Path> {
        let cni = self.legs.cni.then_some(self.cni_bin.as_path());
        let credentials = self.legs.credential_provider.then_some(self.credential_bin.as_path());
        cni.into_iter().chain(credentials).chain([self.etc.as_path()]).collect()
    }
}

/// What was found before anything is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Names in the mounted ConfigMap.
    pub configs: Vec<String>,
}

/// A file the host shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// Its folder, which is made when missing.
    pub dir: PathBuf,
    /// Its name there.
    pub name: String,
    /// What it is.
    pub content: Content,
}

/// What a host file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A copy of the program `source`, which must pass `trial` before it takes its name.
    Program {
        /// The file to copy.
        source: PathBuf,
        /// How to see whether it runs.
        trial: Trial,
    },
    /// A copy of `source` with `mode`.
    Copy {
        /// The file to copy.
        source: PathBuf,
        /// Permission bits of the copy.
        mode: u32,
        /// The program that must be able to work with it before it takes its name, if one is asked.
        reader: Option<PathBuf>,
    },
    /// A symbolic link of a name that is nobody's but ours: what else has it is replaced.
    Link {
        /// Relative, since the host knows the folder under another path than we do.
        target: &'static str,
    },
    /// A symbolic link that is made only where nothing has its name: what is there is foreign.
    LinkIfAbsent {
        /// Relative, since the host knows the folder under another path than we do.
        target: &'static str,
    },
}

/// How a program is called that is only to show that it runs: the call changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// Its whole environment.
    pub environment: &'static [(&'static str, &'static str)],
}

/// The CNI specification's own question of that kind.
const CNI_VERSION: Trial = Trial { arguments: &[], environment: &[("CNI_COMMAND", "VERSION")] };

const VERSION: Trial = Trial { arguments: &["--version"], environment: &[] };

/// Plans the host's files: programs before their links and the configurations that name them.
pub fn plan(places: &Places, facts: &Facts) -> Vec<HostFile> {
    let program = |dir: &Path, name: &str, trial| {
        let content = Content::Program { source: places.source.join(name), trial };
        HostFile { dir: dir.to_owned(), name: name.to_owned(), content }
    };
    let link = |name: &str, content| HostFile { dir: places.cni_bin.clone(), name: name.to_owned(), content };
    let mut files = Vec::new();
    if places.legs.cni {
        files.push(program(&places.cni_bin, CNI_PLUGIN, CNI_VERSION));
        files.push(link(IPAM, Content::Link { target: CNI_PLUGIN }));
        files.push(link(LOOPBACK, Content::LinkIfAbsent { target: CNI_PLUGIN }));
    }
    if places.legs.credential_provider {
        files.push(program(&places.credential_bin, CREDENTIAL_PROVIDER, VERSION));
    }
    files.extend(configs(places, facts));
    files
}

/// Only the keys that are ours, and only what is there: a key taken out of the ConfigMap leaves its
/// file, since a missing one would stop a program that works.
fn configs(places: &Places, facts: &Facts) -> Vec<HostFile> {
    let Some(config) = &places.config else { return Vec::new() };
    let known = CONFIGS.iter().filter(|name| facts.configs.iter().any(|found| found == *name));
    known
        .map(|name| HostFile {
            dir: places.etc.clone(),
            name: (*name).to_owned(),
            content: Content::Copy {
                source: config.join(name),
                // An admin may put what is nobody else's business here.
                mode: 0o600,
                // Read at each pull, so that a mistake would keep every private image from being pulled. The
                // others are copies for people: their programs read the ConfigMap, and keep what they have.
                reader: (*name == CREDENTIAL_CONFIG).then(|| places.source.join(CREDENTIAL_PROVIDER)),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            source: "/".into(),
            config: Some("/config".into()),
            cni_bin: "/opt/cni/bin".into(),
            credential_bin: "/opt/tripod/credential-provider".into(),
            etc: "/etc/tripod".into(),
            legs: Legs { cni: true, credential_provider: true },
        }
    }

    fn paths(files: &[HostFile]) -> Vec<String> {
        assert!(files.iter().all(|file| NAMES.contains(&file.name.as_str())));
        files.iter().map(|file| file.path().display().to_string()).collect()
    }

    #[test]
    fn programs_come_first_then_their_links_then_the_configurations() {
        let configs = ["..data", "node.yaml", "note.txt", "credential-provider.yaml"].map(str::to_owned);
        let files = plan(&places(), &Facts { configs: configs.to_vec() });
        let expected = [
            "/opt/cni/bin/tripod-cni",
            "/opt/cni/bin/tripod-ipam",
            "/opt/cni/bin/loopback",
            "/opt/tripod/credential-provider/tripod-credential-provider",
            "/etc/tripod/node.yaml",
            "/etc/tripod/credential-provider.yaml",
        ];
        assert_eq!(paths(&files), expected);
        assert_eq!(files[0].content, Content::Program { source: "/tripod-cni".into(), trial: CNI_VERSION });
        assert_eq!(files[1].content, Content::Link { target: "tripod-cni" });
        assert_eq!(files[2].content, Content::LinkIfAbsent { target: "tripod-cni" });
        let copy = |name: &str, reader: Option<&str>| Content::Copy {
            source: Path::new("/config").join(name),
            mode: 0o600,
            reader: reader.map(PathBuf::from),
        };
        assert_eq!(files[4].content, copy("node.yaml", None));
        let reader = Some("/tripod-credential-provider");
        assert_eq!(files[5].content, copy("credential-provider.yaml", reader));
    }

    #[test]
    fn without_a_config_map_only_the_programs_are_planned() {
        let places = Places { config: None, ..places() };
        assert_eq!(plan(&places, &Facts { configs: vec!["node.yaml".into()] }).len(), 4);
    }

    #[test]
    fn a_leg_that_is_off_has_no_program_and_no_folder() {
        let legs = Legs { cni: false, credential_provider: true };
        let places = Places { config: None, legs, ..places() };
        let program = "/opt/tripod/credential-provider/tripod-credential-provider";
        assert_eq!(paths(&plan(&places, &Facts::default())), [program]);
        let folders = ["/opt/tripod/credential-provider", "/etc/tripod"].map(Path::new);
        assert_eq!(places.targets(), folders);
    }
}
