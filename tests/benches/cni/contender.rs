//! Who takes part: the floor, `tripod-cni` and the reference plugins, each on a node of its own, so that
//! nobody's rules slow down another's.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tripod_tests::namespace::Namespace;

/// One program of a chain and the configuration it reads.
#[derive(Clone, Debug)]
struct Step {
    program: PathBuf,
    conf: Value,
}

/// How calls are made. A host port is asked for by its number, of which every pod gets its own.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Starts the programs and accounts for them.
    launcher: Option<PathBuf>,
    steps: Vec<Step>,
    /// Of the host port, where there is one.
    protocol: Option<&'static str>,
    /// What ADD printed, which the chain's later calls are given.
    results: Arc<Mutex<HashMap<usize, Value>>>,
}

/// A plan and the node it is carried out on.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) plan: Plan,
    pub(crate) node: Namespace,
}

/// What one call took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) max_rss_kib: u64,
}

/// A call that failed, with what it printed.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl Contender {
    pub(crate) fn new(name: &'static str, plan: Plan) -> Self {
        let node = Namespace::try_node().expect("root may make a node");
        Self { name, plan, node }
    }

    pub(crate) fn try_call(&self, verb: &'static str, pod: usize, netns: &Path) -> Result<Account, Refused> {
        let (plan, netns) = (self.plan.clone(), netns.to_owned());
        self.node.run(move || plan.call(verb, pod, &netns))
    }

    pub(crate) fn call(&self, verb: &'static str, pod: usize, netns: &Path) -> Account {
        self.try_call(verb, pod, netns).unwrap_or_else(|refused| panic!("{} {verb}: {refused:?}", self.name))
    }
}

impl Plan {
    /// A plan without a program yet.
    pub(crate) fn new(launcher: &Path, protocol: Option<&'static str>) -> Self {
        Self { launcher: Some(launcher.to_owned()), steps: Vec::new(), protocol, results: Arc::default() }
    }

    /// Adds a program to the chain.
    pub(crate) fn then(mut self, program: &Path, conf: Value) -> Self {
        self.steps.push(Step { program: program.to_owned(), conf });
        self
    }

    /// The same calls without an account, and without what the launcher costs.
    pub(crate) fn unaccounted(&self) -> Self {
        Self { launcher: None, ..self.clone() }
    }

    /// One verb on the calling thread's node: every program of the chain, DEL in reverse.
    pub(crate) fn call(&self, verb: &str, pod: usize, netns: &Path) -> Result<Account, Refused> {
        let mut order: Vec<&Step> = self.steps.iter().collect();
        if verb == "DEL" {
            order.reverse();
        }
        let mut whole = Account::default();
        for step in order {
            let one = self.step(step, verb, pod, netns)?;
            whole.wall += one.wall;
            whole.cpu += one.cpu;
            whole.max_rss_kib = whole.max_rss_kib.max(one.max_rss_kib);
        }
        Ok(whole)
    }

    fn step(&self, step: &Step, verb: &str, pod: usize, netns: &Path) -> Result<Account, Refused> {
        let mut command = match &self.launcher {
            Some(launcher) => Command::new(launcher),
            None => Command::new(&step.program),
        };
        let output = command
            .args(self.launcher.is_some().then_some(&step.program))
            .env_clear()
            .envs(self.environment(step, verb, pod, netns))
            .stdin(self.configuration(step, pod))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("the program starts");
        if !output.status.success() {
            return Err(Refused(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        if let Ok(result) = serde_json::from_slice(&output.stdout) {
            self.results.lock().expect("no panic").insert(pod, result);
        }
        if self.launcher.is_none() {
            return Ok(Account::default());
        }
        let account = String::from_utf8_lossy(&output.stderr);
        let mut numbers = account.split_whitespace().map(|number| number.parse().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        let (wall, cpu) = (Duration::from_nanos(next()), Duration::from_micros(next()));
        Ok(Account { wall, cpu, max_rss_kib: next() })
    }

    fn environment(&self, step: &Step, verb: &str, pod: usize, netns: &Path) -> Vec<(&'static str, String)> {
        let folder = step.program.parent().expect("a folder").display().to_string();
        let mut variables = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", format!("pod{pod}")),
            ("CNI_NETNS", netns.display().to_string()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", folder),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("FLOOR_ADDRESS", format!("10.3.{}.{}", pod / 250, pod % 250 + 2)),
        ];
        variables.extend(self.protocol.map(|_| ("FLOOR_PORT", host_port(pod).to_string())));
        variables
    }

    /// In a file, so that a program never waits for its configuration.
    fn configuration(&self, step: &Step, pod: usize) -> File {
        let mut conf = step.conf.clone();
        if let Some(protocol) = self.protocol {
            conf["runtimeConfig"] = json!({"portMappings":
                [{"hostPort": host_port(pod), "containerPort": 80, "protocol": protocol}]});
        }
        if self.steps.len() > 1
            && let Some(result) = self.results.lock().expect("no panic").get(&pod)
        {
            conf["prevResult"] = result.clone();
        }
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(conf.to_string().as_bytes()).and_then(|()| file.rewind()).expect("room for it");
        file
    }
}

fn host_port(pod: usize) -> usize {
    20_000 + pod
}
