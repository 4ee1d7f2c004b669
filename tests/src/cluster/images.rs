//! Small images for tests, written as docker archives: one layer, one configuration, one name.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::programs::Programs;

/// The image every sandbox starts from.
pub const PAUSE: &str = "tripod.test/pause:1";
/// A shell with the usual small tools.
pub const BUSYBOX: &str = "tripod.test/busybox:1";

/// One file of an image. Paths are relative to its root.
enum Entry {
    Program { path: String, content: Vec<u8> },
    Link { path: String, target: String },
    Folder { path: String, mode: u32 },
}

/// What an image holds and starts.
pub struct Image {
    name: String,
    entrypoint: Vec<String>,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} entries", self.name, self.entries.len())
    }
}

/// The sandbox image: a first process that waits and reaps.
pub fn pause(programs: &Programs) -> anyhow::Result<Image> {
    let entries = vec![program("pause", &programs.catatonit())?];
    Ok(Image { name: PAUSE.to_owned(), entrypoint: ["/pause", "-P"].map(str::to_owned).to_vec(), entries })
}

/// An image called `name` with every tool of busybox.
pub fn busybox(programs: &Programs, name: &str) -> anyhow::Result<Image> {
    let folder = |path: &str, mode| Entry::Folder { path: path.to_owned(), mode };
    let mut entries = vec![folder("bin", 0o755), folder("etc", 0o755), folder("tmp", 0o1777)];
    entries.push(program("bin/busybox", &programs.busybox())?);
    let applets = Command::new(programs.busybox()).arg("--list").output().context("busybox --list")?;
    let applets = String::from_utf8(applets.stdout)?;
    entries.extend(
        applets
            .lines()
            .filter(|applet| *applet != "busybox")
            .map(|applet| Entry::Link { path: format!("bin/{applet}"), target: "busybox".to_owned() }),
    );
    Ok(Image { name: name.to_owned(), entrypoint: vec!["/bin/sh".to_owned()], entries })
}

/// Tripod's image, as its root folder `root` was built, under another `name` and with `mark` at the end of its
/// programs: another version by all that tells versions apart, which does the same.
pub fn release(root: &Path, name: &str, mark: &str) -> anyhow::Result<Image> {
    let mut entries = Vec::new();
    for path in files_below(root)? {
        let mut entry = program(&path.strip_prefix(root)?.to_string_lossy(), &path)?;
        if let Entry::Program { path, content } = &mut entry
            && path.starts_with("tripod-")
        {
            content.extend_from_slice(mark.as_bytes());
        }
        entries.push(entry);
    }
    Ok(Image { name: name.to_owned(), entrypoint: vec!["/tripod-node".to_owned()], entries })
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn program(path: &str, source: &Path) -> anyhow::Result<Entry> {
    let content = std::fs::read(source).with_context(|| source.display().to_string())?;
    Ok(Entry::Program { path: path.to_owned(), content })
}

impl Image {
    /// The same with a folder called `name`, so that it is another image by its content too.
    #[must_use]
    pub fn marked(mut self, name: &str) -> Self {
        self.entries.push(Entry::Folder { path: name.to_owned(), mode: 0o755 });
        self
    }

    /// The same with other bytes as its program at `path`.
    #[must_use]
    pub fn with_program(mut self, path: &str, bytes: &[u8]) -> Self {
        for entry in &mut self.entries {
            if let Entry::Program { path: own, content } = entry
                && own == path
            {
                *content = bytes.to_vec();
            }
        }
        self
    }

    /// The bytes of its program at `path`.
    pub fn program(&self, path: &str) -> Option<&[u8]> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Program { path: own, content } if own == path => Some(content.as_slice()),
            _ => None,
        })
    }

    /// Writes the image as an archive that `ctr images import` and `docker load` read.
    pub fn write(&self, out: impl Write) -> anyhow::Result<()> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_digest(&layer))] },
        });
        let config = serde_json::to_vec(&config)?;
        let config_name = format!("{}.json", hex_digest(&config));
        let manifest = json!([{ "Config": config_name, "RepoTags": [self.name], "Layers": ["layer.tar"] }]);
        let mut archive = tar::Builder::new(out);
        let manifest = serde_json::to_vec(&manifest)?;
        for (name, content) in [(&*config_name, &config), ("layer.tar", &layer), ("manifest.json", &manifest)]
        {
            archive.append_data(
                &mut header(tar::EntryType::Regular, 0o644, content.len()),
                name,
                &**content,
            )?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            match entry {
                Entry::Program { path, content } => {
                    let mut header = header(tar::EntryType::Regular, 0o755, content.len());
                    layer.append_data(&mut header, path, &**content)?;
                }
                Entry::Link { path, target } => {
                    layer.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, target)?;
                }
                Entry::Folder { path, mode } => {
                    layer.append_data(&mut header(tar::EntryType::Directory, *mode, 0), path, &[][..])?;
                }
            }
        }
        Ok(layer.into_inner()?)
    }
}

/// Without times and owners, so that the same content has the same digest.
fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().expect("an archive").map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            (entry.path().expect("its path").display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn an_archive_names_its_parts_by_their_digests() {
        let entries = vec![
            Entry::Program { path: "bin/a".to_owned(), content: b"program".to_vec() },
            Entry::Link { path: "bin/b".to_owned(), target: "a".to_owned() },
        ];
        let image =
            Image { name: "tripod.test/a:1".to_owned(), entrypoint: vec!["/bin/a".to_owned()], entries };
        let mut archive = Vec::new();
        image.write(&mut archive).expect("memory takes all");
        let files = unpacked(&archive);
        let manifest: serde_json::Value =
            serde_json::from_slice(&files["manifest.json"]).expect("a manifest");
        assert_eq!(manifest[0]["RepoTags"][0], "tripod.test/a:1");
        let config_name = manifest[0]["Config"].as_str().expect("a name");
        assert_eq!(config_name, format!("{}.json", hex_digest(&files[config_name])));
        let config: serde_json::Value = serde_json::from_slice(&files[config_name]).expect("a configuration");
        let layer = &files["layer.tar"];
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex_digest(layer)));
        assert_eq!(unpacked(layer)["bin/a"], b"program");
    }
}
