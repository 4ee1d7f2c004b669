//! The image as an archive in Docker's format: one layer, its description, and a manifest with its name.
//! No time and no owner enters it, so the same files give the same bytes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::root::{Content, Root};

/// Packs `root` into a layer.
pub(crate) fn layer(root: &Root) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for (path, content) in root.files() {
        let above = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        for folder in above.collect::<Vec<_>>().into_iter().rev() {
            if folders.insert(folder.to_owned()) {
                append(&mut tar, EntryType::Directory, folder, 0o755, &[])?;
            }
        }
        append(&mut tar, EntryType::Regular, path, content.mode, &content.bytes)?;
    }
    tar.into_inner()
}

/// Wraps `layer` into an image called `name`.
pub(crate) fn archive(name: &str, layer: &[u8]) -> io::Result<Vec<u8>> {
    let description = json!({
        "architecture": architecture(std::env::consts::ARCH),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/tripod-node"], "Env": ["PATH=/"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(layer))]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo image"}],
    });
    let description = serde_json::to_vec(&description)?;
    let description_name = format!("{}.json", digest(&description));
    let manifest = json!([{"Config": description_name, "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let manifest = serde_json::to_vec(&manifest)?;
    let mut tar = Builder::new(Vec::new());
    let files =
        [(description_name.as_str(), &*description), ("layer.tar", layer), ("manifest.json", &*manifest)];
    for (name, bytes) in files {
        append(&mut tar, EntryType::Regular, Path::new(name), 0o644, bytes)?;
    }
    tar.into_inner()
}

fn append(
    tar: &mut Builder<Vec<u8>>,
    kind: EntryType,
    path: &Path,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len().try_into().unwrap_or(u64::MAX));
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, bytes)
}

/// What image descriptions call a machine that Rust calls so.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// One digest of all files.
pub(crate) fn digest_of(root: &Root) -> String {
    let one = |(path, content): (&Path, &Content)| format!("{} {}\n", digest(&content.bytes), path.display());
    digest(root.files().map(one).collect::<String>().as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn root(paths: &[&str]) -> Root {
        let mut root = Root::default();
        for path in paths {
            root.insert(path.into(), Content { bytes: path.as_bytes().to_vec(), mode: 0o755 });
        }
        root
    }

    #[test]
    fn the_order_in_which_files_come_makes_no_difference() {
        let one = layer(&root(&["tripod-cni", "/lib64/ld.so", "/lib/a/b.so"])).unwrap();
        let other = layer(&root(&["/lib/a/b.so", "tripod-cni", "/lib64/ld.so"])).unwrap();
        assert_eq!(one, other);
        let mut tar = tar::Archive::new(&*one);
        let entries = tar.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            entry.path().unwrap().display().to_string()
        });
        let expected = ["lib", "lib/a", "lib/a/b.so", "lib64", "lib64/ld.so", "tripod-cni"];
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_manifest_names_the_image_its_description_and_its_layer() {
        let layer = layer(&root(&["tripod-cni"])).unwrap();
        let archive = archive("tripod:dev", &layer).unwrap();
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(&*archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "tripod:dev");
        let description = &files[manifest[0]["Config"].as_str().unwrap()];
        assert_eq!(format!("{}.json", digest(description)), manifest[0]["Config"].as_str().unwrap());
        let description: serde_json::Value = serde_json::from_slice(description).unwrap();
        let diff_id = format!("sha256:{}", digest(&files[manifest[0]["Layers"][0].as_str().unwrap()]));
        assert_eq!(description["rootfs"]["diff_ids"][0], diff_id);
    }
}
