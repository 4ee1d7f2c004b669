//! The namespaces of one running process, and work done inside of them.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use nix::sched::{CloneFlags, setns, unshare};

/// Open handles of a process's namespaces. They stay valid, and keep the namespaces alive, after the
/// process has ended.
#[derive(Debug)]
pub struct Namespaces {
    network: File,
    others: Vec<(File, CloneFlags)>,
}

impl Namespaces {
    /// Opens the namespaces of the process `pid`.
    pub fn open(pid: u32) -> anyhow::Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string()).join("ns");
        let open = |name: &str| File::open(folder.join(name)).with_context(|| format!("{folder:?} {name}"));
        // The mount namespace last: it changes what every path means.
        let others = vec![
            (open("uts")?, CloneFlags::CLONE_NEWUTS),
            (open("ipc")?, CloneFlags::CLONE_NEWIPC),
            (open("pid")?, CloneFlags::CLONE_NEWPID),
            (open("mnt")?, CloneFlags::CLONE_NEWNS),
        ];
        Ok(Self { network: open("net")?, others })
    }

    /// Runs `work` inside of all namespaces. The process id namespace applies to the processes which
    /// `work` starts, as the kernel has it.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        on_own_thread(|| {
            // A thread shares its root folder with the process until told otherwise, and the kernel
            // refuses to move only one of them to another mount namespace.
            unshare(CloneFlags::CLONE_FS).context("own root folder for a thread")?;
            setns(&self.network, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
            for (handle, kind) in &self.others {
                setns(handle, *kind).with_context(|| format!("enter a namespace: {kind:?}"))?;
            }
            work()
        })
    }

    /// Runs `work` inside of the network namespace only: same files, same process ids.
    pub fn within_network<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        within_network_of(&self.network, work)
    }
}

/// Runs `work` inside of the network namespace that `handle` is open on.
pub fn within_network_of<T: Send>(
    handle: &File,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    on_own_thread(|| {
        setns(handle, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        work()
    })
}

/// Namespaces belong to threads; one that has entered some ends instead of finding its way back.
fn on_own_thread<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
