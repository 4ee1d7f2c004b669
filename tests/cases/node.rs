//! `tripod-node`: the real program, on files of its own and on throwaway nodes with an API server.

mod agent;
mod api;
mod crash;
mod doctor;
mod drift;
mod forward;
mod install;
mod kubectl;
mod log;
mod mesh;
mod observe;
mod orphans;
mod restore;
mod taint;
mod uninstall;
mod watch;
mod wireguard;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use inotify::{EventMask, Inotify, WatchMask};
use tempfile::TempDir;
use tripod_tests::programs::program;

/// What the folder of CNI plugins holds after an installation.
const PLUGINS: [&str; 3] = ["loopback", "tripod-cni", "tripod-ipam"];

/// What the programs of an image here begin with: a script that ends well, whatever follows.
const RUNS: &str = "#!/bin/sh\nexit 0\n";

/// Folders that stand for a host, an image and a mounted ConfigMap.
struct Host {
    root: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { root: tempfile::tempdir().expect("a folder") };
        host.image("tripod-cni", "plugin 1");
        host.image("tripod-credential-provider", "provider 1");
        host.publish(&[("node.yaml", "version: v1\n"), ("note.txt", "not ours")]);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The text of a file, or what follows in a program of the image.
    fn read(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.strip_prefix(RUNS).map(str::to_owned).unwrap_or(text)
    }

    /// Puts a program into the image that runs, and is this otherwise.
    fn image(&self, name: &str, content: &str) {
        self.image_file(name, format!("{RUNS}{content}").as_bytes());
    }

    /// Puts anything into the image.
    fn image_file(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path("image")).expect("a folder");
        fs::write(self.path("image").join(name), bytes).expect("a file");
    }

    /// Mounts a ConfigMap of this content as the kubelet does: files are links through `..data`, which
    /// is swapped by a rename.
    fn publish(&self, files: &[(&str, &str)]) {
        let config = self.path("config");
        fs::create_dir_all(&config).expect("a folder");
        let version = format!("..{}", fs::read_dir(&config).expect("a folder").count());
        fs::create_dir(config.join(&version)).expect("a folder");
        for (name, content) in files {
            fs::write(config.join(&version).join(name), content).expect("a file");
        }
        std::os::unix::fs::symlink(&version, config.join("..data_tmp")).expect("a link");
        fs::rename(config.join("..data_tmp"), config.join("..data")).expect("a rename");
        for (name, _) in files {
            if !config.join(name).exists() {
                std::os::unix::fs::symlink(format!("..data/{name}"), config.join(name)).expect("a link");
            }
        }
    }

    fn command(&self, extra: &[&str]) -> Command {
        let mut command = Command::new(program("tripod-node"));
        self.add_arguments(&mut command);
        command.args(extra);
        command
    }

    fn add_arguments(&self, command: &mut Command) {
        command.arg("install");
        for (flag, folder) in [
            ("--source-dir", "image"),
            ("--config-dir", "config"),
            ("--cni-bin-dir", "opt/cni/bin"),
            ("--credential-bin-dir", "opt/credential"),
            ("--etc-dir", "etc/tripod"),
        ] {
            command.arg(flag).arg(self.path(folder));
        }
    }

    fn install(&self) -> Output {
        self.command(&[]).output().expect("the program runs")
    }

    fn install_well(&self) {
        let output = self.install();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// Records what happens to the names in a folder, as a runtime sees it.
struct Recorder(Inotify);

impl Recorder {
    fn watch(folder: &Path) -> Self {
        let inotify = Inotify::init().expect("inotify");
        inotify.watches().add(folder, WatchMask::ALL_EVENTS).expect("a folder");
        Self(inotify)
    }

    /// What happened so far to names that change, without mere looks.
    fn events(&mut self) -> Vec<(EventMask, String)> {
        let mut buffer = vec![0; 64 * 1024];
        let mut seen = Vec::new();
        while let Ok(events) = self.0.read_events(&mut buffer) {
            seen.extend(
                events
                    .filter_map(|event| Some((event.mask, event.name?.to_str()?.to_owned())))
                    .collect::<Vec<_>>(),
            );
        }
        let looks = EventMask::ACCESS | EventMask::OPEN | EventMask::CLOSE_NOWRITE;
        seen.retain(|(mask, _)| !looks.contains(*mask));
        seen
    }

    /// Everything that happened to `name` so far.
    fn events_of(&mut self, name: &str) -> Vec<EventMask> {
        self.events().into_iter().filter(|(_, other)| other == name).map(|(mask, _)| mask).collect()
    }
}
