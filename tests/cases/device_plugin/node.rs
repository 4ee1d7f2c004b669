//! A made node and the device plugin that runs on it.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tripod_tests::programs::program;

/// A made node: a host tree with `/dev`, a device plugin directory and a config.
pub(super) struct Node {
    pub(super) folder: TempDir,
    program: PathBuf,
}

impl Node {
    /// `None`, loudly, where device nodes cannot be made; in CI that is a failure.
    pub(super) fn new(config: &str) -> Option<Node> {
        if !nix::unistd::Uid::effective().is_root() {
            assert!(std::env::var_os("CI").is_none(), "device nodes are made as root only");
            eprintln!("SKIPPED: device nodes are made as root only");
            return None;
        }
        let node = Node { folder: tempfile::tempdir().unwrap(), program: program("tripod-device-plugin") };
        std::fs::create_dir_all(node.root().join("dev")).unwrap();
        std::fs::create_dir_all(node.plugins()).unwrap();
        node.configure(config);
        Some(node)
    }

    /// The same, with this program.
    pub(super) fn with_program(self, program: PathBuf) -> Node {
        Node { program, ..self }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("host")
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.folder.path().join("device-plugins")
    }

    pub(super) fn cdi(&self) -> PathBuf {
        self.folder.path().join("cdi")
    }

    /// Where the plugin sends news.
    pub(super) fn agent(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// What the made library of NVIDIA's reads.
    pub(super) fn nvml(&self) -> PathBuf {
        self.folder.path().join("nvml")
    }

    /// The folder of a kubelet's plugin watcher.
    pub(super) fn registry(&self) -> PathBuf {
        self.folder.path().join("plugins_registry")
    }

    /// Where a kubelet would answer what containers hold.
    pub(super) fn podresources(&self) -> PathBuf {
        self.folder.path().join("pod-resources/kubelet.sock")
    }

    /// The folders of NVIDIA's Multi-Process Service.
    pub(super) fn mps(&self) -> PathBuf {
        self.folder.path().join("mps")
    }

    /// Where Node Feature Discovery would read labels; there is none until somebody makes it.
    pub(super) fn features(&self) -> PathBuf {
        self.folder.path().join("features.d")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("device-plugin.yaml")
    }

    pub(super) fn configure(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    pub(super) fn dev(&self, name: &str) -> PathBuf {
        self.root().join("dev").join(name)
    }

    /// A file of the made host tree, for example `sys/bus/usb/devices/1-2/serial`.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A link of the made host tree, as `/sys` is full of.
    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// What `discover` prints of this node: its devices, and what it logs.
    pub(super) fn discover(&self) -> (Vec<serde_json::Value>, String) {
        let mut command = std::process::Command::new(&self.program);
        command.env("FAKE_NVML", self.nvml());
        command.args(["discover", "--output", "json", "--config"]).arg(self.config());
        let output = command.arg("--host-root").arg(self.root()).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        let mut document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let devices = document["devices"].take();
        (serde_json::from_value(devices).unwrap(), log)
    }

    /// A node of the kernel's memory devices (major 1): harmless, and never the same device twice.
    pub(super) fn add_device(&self, name: &str, minor: u64) {
        std::fs::create_dir_all(self.dev(name).parent().unwrap()).unwrap();
        mknod(&self.dev(name), SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(1, minor)).unwrap();
    }

    pub(super) fn remove_device(&self, name: &str) {
        std::fs::remove_file(self.dev(name)).unwrap();
    }

    pub(super) fn run(&self) -> Plugin {
        self.run_with(&self.config())
    }

    pub(super) fn run_with(&self, config: &Path) -> Plugin {
        self.start(config, "classic")
    }

    /// Runs with `registration`, `classic` or `watcher`.
    pub(super) fn run_by(&self, registration: &str) -> Plugin {
        self.start(&self.config(), registration)
    }

    fn start(&self, config: &Path, registration: &str) -> Plugin {
        let log = self.folder.path().join(format!("log-{:?}", Instant::now()));
        let child = Command::new(&self.program)
            .env("FAKE_NVML", self.nvml())
            .args(["run", "--health-addr", "127.0.0.1:0", "--log-level", "debug", "--config"])
            .arg(config)
            .arg("--host-root")
            .arg(self.root())
            .arg("--plugin-dir")
            .arg(self.plugins())
            .arg("--cdi-dir")
            .arg(self.cdi())
            .arg("--mps-dir")
            .arg(self.mps())
            .args(self.features().exists().then(|| format!("--nfd-dir={}", self.features().display())))
            .arg("--agent-socket")
            .arg(self.agent())
            .args(["--metrics-addr", "127.0.0.1:0", "--podresources-interval", "1", "--podresources-socket"])
            .arg(self.podresources())
            .args(["--registration", registration, "--plugins-registry-dir"])
            .arg(self.registry())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Plugin { child, log }
    }
}

/// A running device plugin.
pub(super) struct Plugin {
    pub(super) child: Child,
    log: PathBuf,
}

impl Plugin {
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(super) async fn until_logged(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn probe_address(&self) -> String {
        self.address_of("answering probes").await
    }

    pub(super) async fn metrics_address(&self) -> String {
        self.address_of("answering metrics").await
    }

    async fn address_of(&self, message: &str) -> String {
        self.until_logged(message).await;
        let log = self.log();
        let line = log.lines().find(|line| line.contains(message)).unwrap();
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["address"].as_str().unwrap().to_owned()
    }

    pub(super) async fn stop(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
        self.wait().await
    }

    pub(super) async fn log_at_failure(mut self) -> String {
        assert_eq!(self.wait().await.code(), Some(1), "{}", self.log());
        self.log()
    }

    pub(super) async fn wait(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it still runs:\n{}", self.log())).unwrap()
    }
}

pub(super) fn sockets(node: &Node) -> Vec<String> {
    let entries = node.plugins().read_dir().unwrap().map(Result::unwrap);
    let sockets = entries.filter(|entry| entry.file_type().unwrap().is_socket());
    let mut names: Vec<_> = sockets.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(super) async fn http_get(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
