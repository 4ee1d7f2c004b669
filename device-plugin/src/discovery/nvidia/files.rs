//! The driver's libraries and programs, which must be of the same version as its kernel module and so come
//! from the node, whatever an image holds.

use crate::device::Mount;
use crate::hostroot::HostRoot;

/// Where distributions put libraries, below the driver root.
const LIBRARIES: [&str; 5] =
    ["/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib", "/lib64", "/lib/x86_64-linux-gnu"];
/// The library that tells about GPUs, by the name programs load it under.
const NVML: &str = "libnvidia-ml.so.1";
const PROGRAMS: [&str; 5] = [
    "/usr/bin/nvidia-smi",
    "/usr/bin/nvidia-debugdump",
    "/usr/bin/nvidia-persistenced",
    "/usr/bin/nvidia-cuda-mps-control",
    "/usr/bin/nvidia-cuda-mps-server",
];
/// Most libraries of one driver.
const MAX_LIBRARIES: usize = 256;

/// Where `driver_root` has NVML, as a path of the host.
pub(super) fn nvml(root: &HostRoot, driver_root: &str) -> Option<String> {
    let mut places = LIBRARIES.iter().map(|folder| format!("{driver_root}{folder}/{NVML}"));
    places.find(|path| root.resolve(path).is_some())
}

/// Each library under all of its names, and the programs. A program asks for `libcuda.so.1`, which is a
/// link on the node: mounting the file under each name spares a container the links.
pub(super) fn mounts(root: &HostRoot, driver_root: &str) -> Vec<Mount> {
    let libraries = nvml(root, driver_root).map(|nvml| libraries(&nvml, root)).unwrap_or_default();
    let programs = PROGRAMS.iter().filter_map(|path| {
        Some((root.resolve(&format!("{driver_root}{path}"))?, format!("{driver_root}{path}")))
    });
    let mount = |(host_path, path): (String, String)| {
        let container_path = path.strip_prefix(driver_root).unwrap_or(&path).to_owned();
        Mount { host_path, container_path, read_only: true }
    };
    libraries.into_iter().chain(programs).map(mount).collect()
}

/// The driver's libraries all end in its version, and their links lead to such files.
fn libraries(nvml: &str, root: &HostRoot) -> Vec<(String, String)> {
    let Some((folder, _)) = nvml.rsplit_once('/') else { return Vec::new() };
    let resolved = root.resolve(nvml).unwrap_or_default();
    let Some(version) = resolved.split_once(".so").map(|(_, version)| format!(".so{version}")) else {
        return Vec::new();
    };
    let names = root.names(folder).unwrap_or_default();
    let candidates = names.into_iter().filter(|name| name.contains(".so"));
    let real = candidates.filter_map(|name| {
        let path = format!("{folder}/{name}");
        Some((root.resolve(&path)?, path))
    });
    // An unversioned NVML says nothing of which files belong to it.
    let all: Vec<_> =
        real.filter(|(file, _)| version.len() > ".so.1".len() && file.ends_with(&version)).collect();
    all.into_iter().take(MAX_LIBRARIES).collect()
}
