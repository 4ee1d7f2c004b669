//! The kubelet's own code, from its `CredentialProviderConfig` to the credentials of a pull.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;
use tripod_tests::cluster::Programs;
use tripod_tests::programs;

use super::{Ran, run};

/// What a kubelet is started with: its file, and its folder of providers.
pub(super) struct Wiring {
    folder: TempDir,
}

/// What the kubelet makes of a job.
#[derive(Debug)]
pub(super) struct Answer {
    /// Why it does not start.
    pub(super) refused: Option<String>,
    /// User and password of each pull, in the order in which they are tried.
    pub(super) logins: Vec<Vec<[String; 2]>>,
}

/// The program; none, loudly, where it cannot be built.
pub(super) fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| Programs::with_go("tests of the kubelet's own code", Programs::keyring)).as_deref()
}

impl Wiring {
    /// An empty file, and this program in the folder.
    pub(super) fn new() -> Self {
        let wiring = Self { folder: TempDir::new().expect("a temporary folder") };
        std::fs::create_dir(wiring.bin_dir()).expect("a folder of programs");
        let ours = programs::program("tripod-credential-provider");
        std::os::unix::fs::symlink(ours, wiring.bin_dir().join("tripod-credential-provider"))
            .expect("a link to the program");
        wiring
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn bin_dir(&self) -> PathBuf {
        self.path("bin")
    }

    /// The kubelet's file.
    pub(super) fn file(&self) -> PathBuf {
        self.path("kubelet.yaml")
    }

    /// Does what `printed`, the output of `kubelet-config`, tells an admin to do.
    pub(super) fn follow(&self, printed: &str) {
        std::fs::write(self.file(), printed).expect("the kubelet's file");
        for line in printed.lines().filter_map(|line| line.strip_prefix("#   ln -sfn ")) {
            let linked = Command::new("sh").args(["-c", &format!("ln -sfn {line}")]).status();
            assert!(linked.expect("a shell").success(), "{line}");
        }
    }

    /// The job of a kubelet with this file, which then does these pulls.
    pub(super) fn job(&self, pulls: &[Value]) -> Value {
        json!({"config": self.file(), "binDir": self.bin_dir(), "pulls": pulls})
    }

    /// What the kubelet says to its file alone; none where it starts.
    pub(super) fn refusal(&self) -> Option<String> {
        Answer::of(ask(&self.job(&[]))).refused
    }
}

/// Runs the program with `job`.
pub(super) fn ask(job: &Value) -> Ran {
    run(Command::new(program().expect("the program was built")), job.to_string().as_bytes())
}

impl Answer {
    /// What the program printed.
    pub(super) fn of(ran: Ran) -> Self {
        assert!(ran.success, "{ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let login = |login: &Value| [text(&login["username"]), text(&login["password"])];
        let pull = |logins: &Value| logins.as_array().expect("a list").iter().map(login).collect();
        let pulls = report["logins"].as_array().cloned().unwrap_or_default();
        Self {
            refused: report["refused"].as_str().map(str::to_owned),
            logins: pulls.iter().map(pull).collect(),
        }
    }
}
