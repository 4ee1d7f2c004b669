//! Whether a kubelet of this node executes our credential provider: by the flags of the one that can be seen.

use std::io;
use std::path::{Path, PathBuf};

use crate::processes::{self, Process};

const FLAG: &str = "--image-credential-provider-config";
const PROVIDER: &str = "tripod-credential-provider";

/// Most files of a folder that are read.
const MOST: usize = 1000;

/// What is known of the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// It names no such program.
    None,
    /// It would not start without it, or cannot be asked; this is why it stays.
    Possible(String),
}

/// Looks for kubelets among the processes below `proc`.
pub(super) fn reference(proc: &Path) -> Reference {
    let kubelets = processes::named(proc, "kubelet");
    if kubelets.is_empty() {
        let reason = "no kubelet can be seen from here, and one that refers to it would not start without it; \
            remove it once no kubelet has --image-credential-provider-bin-dir with this folder";
        return Reference::Possible(reason.to_owned());
    }
    kubelets.iter().map(judge).find(|found| *found != Reference::None).unwrap_or(Reference::None)
}

fn judge(kubelet: &Process) -> Reference {
    let Some(config) = kubelet.flag(&[FLAG]) else { return Reference::None };
    match texts(kubelet, Path::new(config)) {
        Ok(texts) if texts.iter().any(|text| text.contains(PROVIDER)) => Reference::Possible(format!(
            "the kubelet is told of it by {config}; take it out there, and restart it"
        )),
        Ok(_) => Reference::None,
        Err(error) => Reference::Possible(format!("the kubelet's {config} cannot be read: {error}")),
    }
}

/// The file, or all files of the folder.
fn texts(kubelet: &Process, path: &Path) -> io::Result<Vec<String>> {
    if !kubelet.metadata(path)?.is_dir() {
        return Ok(vec![kubelet.read(path)?]);
    }
    let files = kubelet.names(path, MOST)?.into_iter().map(|name| path.join(name));
    // Mounted folders hold hidden ones of their own.
    let is_file = |file: &PathBuf| !kubelet.metadata(file).is_ok_and(|found| found.is_dir());
    files.filter(is_file).map(|file| kubelet.read(&file)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A process with this command line, which sees one file.
    fn proc(words: &[&str], config: Option<&str>) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("77");
        fs::create_dir_all(process.join("root/etc")).unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::write(process.join("cmdline"), words.join("\0")).unwrap();
        fs::write(process.join("status"), "NSpid:\t77\n").unwrap();
        if let Some(config) = config {
            fs::write(process.join("root/etc/providers.yaml"), config).unwrap();
        }
        proc
    }

    fn possible(words: &[&str], config: Option<&str>) -> Option<String> {
        match reference(proc(words, config).path()) {
            Reference::None => None,
            Reference::Possible(reason) => Some(reason),
        }
    }

    #[test]
    fn a_kubelet_that_names_it_or_cannot_be_asked_keeps_it() {
        let flag = "--image-credential-provider-config=/etc/providers.yaml";
        let ours = Some("providers: [{name: tripod-credential-provider}]");
        for words in [&["/usr/bin/kubelet", "-v2", flag][..], &["kubelet", FLAG, "/etc/providers.yaml"]] {
            assert!(possible(words, ours).unwrap().contains("is told of it by /etc/providers.yaml"));
            assert!(possible(words, None).unwrap().contains("cannot be read"));
            assert_eq!(possible(words, Some("providers: [{name: ecr}]")), None);
        }
        assert!(possible(&["k3s", "server"], ours).unwrap().contains("no kubelet can be seen"));
    }

    #[test]
    fn a_kubelet_without_providers_names_none() {
        assert_eq!(possible(&["/usr/bin/kubelet", "--image-credential-provider-bin-dir=/x"], None), None);
    }
}
