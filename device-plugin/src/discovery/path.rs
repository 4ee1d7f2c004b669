//! Device nodes by path.

use super::Scan;
use crate::config::path_pattern::{Component, PathPattern};
use crate::device::{DeviceNode, Found, Kind};
use crate::hostroot::{HostRoot, Inode};
use crate::inventory::limits;

/// Most nodes of one folder that is offered as a device.
const MAX_NODES: usize = 256;

/// Finds the nodes that `patterns` match. A matched folder, such as `/dev/snd`, is one device made of all
/// nodes directly in it.
pub(super) fn scan(patterns: &[PathPattern], root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    for pattern in patterns {
        for path in expand(pattern, root, &mut scan) {
            look_at(&path, pattern, root, &mut scan);
        }
    }
    if scan.found.len() > limits::MAX_FOUND {
        scan.faults.insert(format!("only the first {} devices are read", limits::MAX_FOUND));
        scan.found.truncate(limits::MAX_FOUND);
    }
    scan
}

/// The paths that `pattern` may mean: all literal ones, and of the others those that exist.
fn expand(pattern: &PathPattern, root: &HostRoot, scan: &mut Scan) -> Vec<String> {
    let mut paths = vec![String::new()];
    for component in pattern.components() {
        let folders = paths;
        paths = Vec::new();
        for folder in folders {
            match component {
                Component::Literal(name) => paths.push(format!("{folder}/{name}")),
                Component::Glob(_) => {
                    let names = names(&folder, root, scan);
                    paths.extend(
                        names.iter().filter(|n| component.matches(n)).map(|n| format!("{folder}/{n}")),
                    );
                }
            }
            // Above /dev nothing is watched: its folders do not come and go.
            if !folder.is_empty() {
                scan.folders.insert(folder);
            }
        }
    }
    paths
}

fn names(folder: &str, root: &HostRoot, scan: &mut Scan) -> Vec<String> {
    root.names(folder).unwrap_or_else(|error| {
        scan.faults.insert(format!("cannot read the folder {folder}: {error}"));
        Vec::new()
    })
}

fn look_at(path: &str, pattern: &PathPattern, root: &HostRoot, scan: &mut Scan) {
    let nodes = match root.inspect(path) {
        Ok(Some(Inode::Device(number))) => vec![DeviceNode { path: path.to_owned(), number }],
        Ok(Some(Inode::Folder)) => nodes_in(path, root, scan),
        Ok(Some(Inode::Other)) if pattern.is_literal() => {
            scan.faults.insert(format!("{path} is no device node"));
            return;
        }
        Ok(_) => return,
        Err(error) => {
            scan.faults.insert(format!("cannot look at {path}: {error}"));
            return;
        }
    };
    if !nodes.is_empty() {
        scan.found.push(device(path, nodes));
    }
}

fn nodes_in(folder: &str, root: &HostRoot, scan: &mut Scan) -> Vec<DeviceNode> {
    scan.folders.insert(folder.to_owned());
    let mut nodes = Vec::new();
    for name in names(folder, root, scan) {
        let path = format!("{folder}/{name}");
        if let Ok(Some(Inode::Device(number))) = root.inspect(&path) {
            nodes.push(DeviceNode { path, number });
        }
    }
    if nodes.len() > MAX_NODES {
        scan.faults.insert(format!("{folder} holds more than {MAX_NODES} nodes and is no device"));
        nodes.clear();
    }
    nodes
}

fn device(path: &str, nodes: Vec<DeviceNode>) -> Found {
    let id = path.trim_start_matches("/dev/").replace('/', "-");
    Found { nodes, ..Found::new(Kind::Path, path, id) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scan(root: &std::path::Path, patterns: &[&str]) -> Scan {
        let patterns: Vec<_> = patterns.iter().map(|text| PathPattern::parse(text).unwrap()).collect();
        super::scan(&patterns, &HostRoot::new(root))
    }

    fn paths(scan: &Scan) -> Vec<(&str, &str)> {
        scan.found.iter().map(|f| (f.id.as_str(), f.key.as_str())).collect()
    }

    #[test]
    fn the_nodes_every_linux_has_are_found_by_name_and_by_glob() {
        let scan = scan("/".as_ref(), &["/dev/zero", "/dev/nul[l]", "/dev/not-there"]);
        assert_eq!(paths(&scan), [("zero", "/dev/zero"), ("null", "/dev/null")]);
        let numbers: Vec<_> =
            scan.found.iter().map(|f| f.nodes[0].number).map(|n| (n.block, n.major, n.minor)).collect();
        assert_eq!(numbers, [(false, 1, 5), (false, 1, 3)]);
        assert_eq!(scan.folders.into_iter().collect::<Vec<_>>(), ["/dev"]);
        assert!(scan.faults.is_empty());
    }

    #[test]
    fn a_file_is_no_device_and_an_absolute_link_stays_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("dev/by-id")).unwrap();
        std::fs::write(root.path().join("dev/file"), "").unwrap();
        symlink("/dev/null", root.path().join("dev/by-id/link")).unwrap();
        let scan = scan(root.path(), &["/dev/file", "/dev/fil*", "/dev/by-id/*", "/dev/by-id"]);
        assert!(scan.found.is_empty(), "{:?}", scan.found);
        assert_eq!(scan.faults.into_iter().collect::<Vec<_>>(), ["/dev/file is no device node"]);
        assert_eq!(scan.folders.into_iter().collect::<Vec<_>>(), ["/dev", "/dev/by-id"]);
    }

    #[test]
    fn folders_that_do_not_exist_yet_are_named_for_watching() {
        let root = tempfile::tempdir().unwrap();
        let scan = scan(root.path(), &["/dev/serial/by-id/usb-*"]);
        let folders: Vec<_> = scan.folders.into_iter().collect();
        assert_eq!(folders, ["/dev", "/dev/serial", "/dev/serial/by-id"]);
        assert!(scan.faults.is_empty());
    }
}
