//! Every file and folder of one device's, broken in every way: the device beside it is found as ever.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;

use super::*;

/// How something in `/sys` can be other than a kernel makes it.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Gone,
    Text(&'static [u8]),
    Folder,
    Fifo,
    /// To itself.
    Loop,
    /// To the root of the machine the test runs on.
    Out,
}

const DAMAGES: [Damage; 9] = [
    Damage::Gone,
    Damage::Text(b""),
    Damage::Text(b"../../{} \\n\"\n"),
    Damage::Text(b"-1\n"),
    Damage::Text(&[0xff; 5000]),
    Damage::Text(b"99999999999999999999\n"),
    Damage::Folder,
    Damage::Fifo,
    Damage::Loop,
];

fn apply(damage: Damage, path: &Path) {
    match damage {
        Damage::Gone => {}
        Damage::Text(text) => std::fs::write(path, text).unwrap(),
        Damage::Folder => std::fs::create_dir(path).unwrap(),
        Damage::Fifo => nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
        Damage::Loop => symlink(path.file_name().unwrap(), path).unwrap(),
        Damage::Out => symlink("/", path).unwrap(),
    }
}

/// Everything in `folder` and below.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            paths.extend(below(&path));
        }
        paths.push(path);
    }
    paths
}

/// The device `id` as `discover` shows it, but for its links to the broken one.
fn row(node: &Node, id: &str, cause: &str) -> serde_json::Value {
    let (mut devices, log) = node.discover();
    let found = devices.iter_mut().find(|device| device["id"] == id);
    let row = found.unwrap_or_else(|| panic!("{id} is hidden by {cause}: {log}"));
    row["links"].take();
    row.take()
}

fn breaks_nothing_else(host: impl Fn() -> Option<Node>, folders: &[&str], other: &str) {
    let Some(node) = host() else { return };
    let expected = row(&node, other, "nothing");
    for path in folders.iter().flat_map(|folder| below(&node.root().join(folder))) {
        let spare = node.folder.path().join("spare");
        std::fs::rename(&path, &spare).unwrap();
        for damage in DAMAGES.into_iter().chain([Damage::Out]) {
            apply(damage, &path);
            let cause = format!("{damage:?} at {}", path.display());
            assert_eq!(row(&node, other, &cause), expected, "{cause}");
            match damage {
                Damage::Gone => {}
                Damage::Folder => std::fs::remove_dir(&path).unwrap(),
                _ => std::fs::remove_file(&path).unwrap(),
            }
        }
        std::fs::rename(&spare, &path).unwrap();
    }
}

#[test]
fn what_a_link_out_of_the_tree_leads_to_is_not_read() {
    let Some(node) = amd::pair(amd::GPUS) else { return };
    let outside = node.folder.path().join("outside");
    std::fs::create_dir_all(outside.join("card77")).unwrap();
    std::fs::write(outside.join("name"), "secret").unwrap();
    let folder = node.root().join("sys/bus/pci/devices/0000:26:00.0");
    std::fs::remove_file(folder.join("product_name")).unwrap();
    std::fs::remove_dir_all(folder.join("drm")).unwrap();
    symlink(outside.join("name"), folder.join("product_name")).unwrap();
    symlink(&outside, folder.join("drm")).unwrap();
    let row = row(&node, amd::SECOND, "a link");
    assert_eq!(
        (&row["model"], &row["nodes"]),
        (&"gfx942".into(), &serde_json::json!(["/dev/dri/renderD129"]))
    );
}

#[test]
fn adapters_on_usb() {
    let folders = ["sys/bus/usb/devices/1-2"];
    breaks_nothing_else(|| usb::bus(usb::ADAPTERS), &folders, "0403-6015-1-4.1");
}

#[test]
fn functions_on_pci() {
    let host = || pci::host("- {name: example.com/any, match: {kind: pci}}\n");
    breaks_nothing_else(host, &["sys/bus/pci/devices/0000:3b:02.0"], "0000:3b:02.1");
}

#[test]
fn gpus_of_amd() {
    let folders = ["sys/bus/pci/devices/0000:05:00.0", "sys/devices/virtual/kfd/kfd/topology/nodes/1"];
    breaks_nothing_else(|| amd::pair(amd::GPUS), &folders, amd::SECOND);
}

#[test]
fn gpus_of_intel() {
    let folders = ["sys/bus/pci/devices/0000:3a:00.0"];
    breaks_nothing_else(|| intel_gpu::host(intel_gpu::GPUS), &folders, intel_gpu::BATTLEMAGE);
}

#[test]
fn fpgas_of_intel() {
    let config = "version: v1\nresources: [{name: example.com/af, match: {kind: dfl}}]\n";
    let folders = ["sys/class/fpga_region/region0/dfl-port.0", "sys/class/fpga_region/region0/dfl-fme.0"];
    breaks_nothing_else(|| dfl::host(config), &folders, "0000:5e:00.0-port1");
}

#[test]
fn cards_of_xrt() {
    let folders = ["sys/bus/pci/devices/0000:3b:00.1", "sys/bus/pci/devices/0000:3b:00.0"];
    breaks_nothing_else(|| xrt::host(xrt::CARDS), &folders, "0000:00:1d.0");
}

#[test]
fn fpgas_of_the_kernels_managers() {
    let folders = ["sys/class/fpga_manager/fpga0"];
    breaks_nothing_else(|| fpga_manager::host(fpga_manager::CONFIG), &folders, "fpga1");
}
