//! Throwaway kernel namespaces. A [`Namespace`] is a thread that left the machine's network behind; it
//! ends with the value, and whatever was made inside ends with it.
//!
//! Children inherit the namespaces of the thread that starts them, so programs run on a node by being
//! started on its thread: nothing is entered, forked or cleaned up by hand.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, geteuid, gettid};
use serde_json::Value;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in namespaces of its own.
#[derive(Debug)]
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: Pid,
}

/// What a namespace consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Node,
    Sandbox,
}

/// Whether this process may make namespaces. If not, says loudly that a test was skipped; in CI that
/// is a failure.
pub fn privileged() -> bool {
    if geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must run these tests as root");
    static TOLD: Once = Once::new();
    // Written past the test runner, which would keep it to itself.
    TOLD.call_once(|| {
        drop(io::stderr().write_all(b"\nSKIPPED: every test that makes namespaces; they need root\n"))
    });
    false
}

impl Namespace {
    /// A node: a network of its own with `lo` up, and an empty `/run`. `None` without root.
    pub fn node() -> Option<Self> {
        let node = Self::new(Kind::Node)?;
        node.sh("ip link set lo up");
        Some(node)
    }

    /// A pod sandbox: a bare network namespace, as a runtime makes it.
    pub fn sandbox() -> Self {
        Self::new(Kind::Sandbox).expect("whoever made the node may make a sandbox")
    }

    fn new(kind: Kind) -> Option<Self> {
        privileged().then(|| {
            let (jobs, queue) = mpsc::channel::<Job>();
            let (ready, tid) = mpsc::channel();
            let thread = thread::spawn(move || {
                isolate(kind);
                ready.send(gettid()).expect("the maker waits");
                queue.into_iter().for_each(|job| job());
            });
            let tid = tid.recv().expect("the thread isolates itself");
            Self { jobs: Some(jobs), thread: Some(thread), tid }
        })
    }

    /// Runs `job` inside and waits for it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move || drop(done.send(job())));
        self.jobs.as_ref().expect("jobs are taken until the end").send(job).expect("the thread lives");
        result.recv().expect("the job does not panic")
    }

    /// A path by which a runtime would name the network namespace.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/task/{}/ns/net", std::process::id(), self.tid).into()
    }

    /// Runs a shell command inside; it must succeed. Its standard output.
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {} {error}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a shell command inside.
    pub fn try_sh(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        self.run(move || command.output().expect("a shell"))
    }

    /// What `ip -j` or `nft -j` says, for example `ip -j route`.
    pub fn json(&self, script: &str) -> Value {
        let text = self.sh(script);
        if text.trim().is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}: {text}"))
    }
}

fn isolate(kind: Kind) {
    match kind {
        Kind::Sandbox => unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace"),
        Kind::Node => {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("network and mount namespaces");
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
            mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("an empty /run");
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
