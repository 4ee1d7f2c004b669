//! Whether a kubelet of this node executes our credential provider: by the flags of the one that can be seen.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const FLAG: &str = "--image-credential-provider-config";
const PROVIDER: &str = "tripod-credential-provider";

/// Longest command line and configuration that are read, in bytes.
const LONGEST: u64 = 1 << 20;

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
    let kubelets: Vec<_> = processes(proc).into_iter().filter_map(kubelet).collect();
    if kubelets.is_empty() {
        let reason = "no kubelet can be seen from here, and one that refers to it would not start without it; \
            remove it once no kubelet has --image-credential-provider-bin-dir with this folder";
        return Reference::Possible(reason.to_owned());
    }
    kubelets.iter().map(judge).find(|found| *found != Reference::None).unwrap_or(Reference::None)
}

/// A kubelet: its folder below `/proc`, and its flags.
struct Kubelet {
    process: PathBuf,
    flags: Vec<String>,
}

fn processes(proc: &Path) -> Vec<PathBuf> {
    let is_number = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_number).collect()
}

fn kubelet(process: PathBuf) -> Option<Kubelet> {
    let text = read(&process.join("cmdline")).ok()?;
    let words = text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned);
    let words: Vec<String> = words.collect();
    let (program, flags) = words.split_first()?;
    let is_kubelet = Path::new(program).file_name().is_some_and(|name| name == "kubelet");
    is_kubelet.then(|| Kubelet { process, flags: flags.to_vec() })
}

fn judge(kubelet: &Kubelet) -> Reference {
    let Some(config) = value(&kubelet.flags) else { return Reference::None };
    // As the kubelet itself sees it, which may be in another mount namespace.
    let path = kubelet.process.join("root").join(config.trim_start_matches('/'));
    match texts(&path) {
        Ok(texts) if texts.iter().any(|text| text.contains(PROVIDER)) => Reference::Possible(format!(
            "the kubelet is told of it by {config}; take it out there, and restart it"
        )),
        Ok(_) => Reference::None,
        Err(error) => Reference::Possible(format!("the kubelet's {config} cannot be read: {error}")),
    }
}

fn value(flags: &[String]) -> Option<&str> {
    let mut flags = flags.iter().map(String::as_str);
    loop {
        match flags.next()?.strip_prefix(FLAG) {
            Some("") => return flags.next(),
            Some(rest) if rest.starts_with('=') => return rest.strip_prefix('='),
            _ => {}
        }
    }
}

/// The file, or all files of the folder.
fn texts(path: &Path) -> io::Result<Vec<String>> {
    if !path.is_dir() {
        return Ok(vec![read(path)?]);
    }
    fs::read_dir(path)?.map(|entry| read(&entry?.path())).collect()
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with this command line, which sees one file.
    fn proc(words: &[&str], config: Option<&str>) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("77");
        fs::create_dir_all(process.join("root/etc")).unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::write(process.join("cmdline"), words.join("\0")).unwrap();
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
