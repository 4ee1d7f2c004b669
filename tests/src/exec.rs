//! Executes a CNI plugin as a runtime does, and insists on its protocol: exactly one JSON document on
//! standard output where there is something to say, nothing where there is not.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::namespace::Namespace;
use crate::programs;

/// One call of a plugin.
#[derive(Clone, Debug)]
pub struct Call {
    program: PathBuf,
    argv0: Option<String>,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether the exit code was 0.
    pub success: bool,
    /// The document on standard output.
    pub document: Option<Value>,
    /// Standard error.
    pub stderr: String,
}

/// How a call ended that a failpoint may have killed.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It was killed; standard error names the steps.
    Killed(String),
    /// It came to its end.
    Ended(Outcome),
}

impl Call {
    /// A call of `tripod-cni` for container `c1` and interface `eth0`.
    pub fn new(verb: &str, conf: &Value) -> Self {
        Self::of(&programs::program("tripod-cni"), verb, conf)
    }

    /// A call of another plugin.
    pub fn of(program: &Path, verb: &str, conf: &Value) -> Self {
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        Self {
            program: program.to_owned(),
            argv0: None,
            arguments: Vec::new(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            stdin: conf.to_string().into_bytes(),
        }
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes a variable of the environment.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Sets the container.
    pub fn container(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// Sets the sandbox.
    pub fn netns(self, path: &Path) -> Self {
        self.env("CNI_NETNS", path.to_str().expect("a path in Unicode"))
    }

    /// Sets what is on standard input, in place of the configuration.
    pub fn stdin(mut self, text: &[u8]) -> Self {
        self.stdin = text.to_vec();
        self
    }

    /// Executes under another name.
    pub fn argv0(mut self, name: &str) -> Self {
        self.argv0 = Some(name.to_owned());
        self
    }

    /// Executes by another program, for example `strace`, whose last argument is this one.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let program = self.program.to_str().expect("a path in Unicode").to_owned();
        let (wrapper, arguments) = wrapper.split_first().expect("a program");
        self.program = PathBuf::from(wrapper);
        self.arguments = arguments.iter().map(|word| (*word).to_owned()).chain([program]).collect();
        self
    }

    /// Executes on `node` and checks the protocol.
    pub fn run(self, node: &Namespace) -> Outcome {
        node.run(move || self.execute())
    }

    /// Executes on the calling thread's node.
    pub fn execute(&self) -> Outcome {
        self.judge(self.output())
    }

    /// Executes a program with failpoints on `node`, with this wish.
    pub fn run_to(self, node: &Namespace, wish: &str) -> Ending {
        let call = self.env("TRIPOD_FAILPOINT", wish);
        node.run(move || {
            let output = call.output();
            if output.status.signal() == Some(nix::libc::SIGKILL) {
                return Ending::Killed(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            Ending::Ended(call.judge(output))
        })
    }

    /// What `output` says by the protocol.
    pub fn judge(&self, output: Output) -> Outcome {
        let stdout = String::from_utf8(output.stdout).expect("text on standard output");
        let success = output.status.success();
        assert!(output.status.code().is_some(), "{self:?} died: {} {stdout}", output.status);
        let document = (!stdout.is_empty()).then(|| {
            serde_json::from_str(&stdout)
                .unwrap_or_else(|error| panic!("not one JSON document: {error}: {stdout}"))
        });
        let outcome =
            Outcome { success, document, stderr: String::from_utf8_lossy(&output.stderr).into_owned() };
        if !success {
            let document = outcome.document.as_ref().expect("a failure is told on standard output");
            assert!(document["code"].is_u64() && document["msg"].is_string(), "{document}");
        }
        outcome
    }

    fn output(&self) -> Output {
        self.start().wait_with_output().expect("an exit status")
    }

    /// Starts on the calling thread's node.
    pub fn start(&self) -> Child {
        let mut command = Command::new(&self.program);
        if let Some(name) = &self.argv0 {
            std::os::unix::process::CommandExt::arg0(&mut command, name);
        }
        command.args(&self.arguments).env_clear().envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let mut stdin = child.stdin.take().expect("a pipe");
        // A plugin may refuse its input and end before it has read all of it.
        drop(stdin.write_all(&self.stdin));
        drop(stdin);
        child
    }
}

impl Outcome {
    /// The document of a success.
    pub fn ok(self) -> Value {
        assert!(self.success, "{self:?}");
        self.document.expect("a document")
    }

    /// A success with nothing to say.
    pub fn silent(self) {
        assert!(self.success && self.document.is_none(), "{self:?}");
    }

    /// The code of a failure.
    pub fn code(&self) -> Option<u64> {
        self.document.as_ref().filter(|_| !self.success)?["code"].as_u64()
    }

    /// The code and the message with its details of a failure.
    pub fn failed(self) -> (u64, String) {
        assert!(!self.success, "{self:?}");
        let document = self.document.expect("an error document");
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        (document["code"].as_u64().expect("a code"), format!("{}: {}", text("msg"), text("details")))
    }
}
