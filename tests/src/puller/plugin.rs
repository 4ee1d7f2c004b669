//! One run of a plugin.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{Account, Provider, Response};

impl Provider {
    /// Executes the plugin and judges its answer.
    pub(super) fn execute(&self, image: &str, account: Option<&Account>) -> Result<Response, String> {
        let mut request = json!({
            "kind": "CredentialProviderRequest", "apiVersion": self.api_version, "image": image,
        });
        if let Some(account) = account {
            request["serviceAccountToken"] = account.token.as_str().into();
            if !account.annotations.is_empty() {
                request["serviceAccountAnnotations"] = json!(account.annotations);
            }
        }
        let output = self.run(request.to_string().into_bytes())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("error execing credential provider plugin: {}: {said}", output.status));
        }
        Response::parse(&output.stdout, &self.api_version)
    }

    fn run(&self, request: Vec<u8>) -> Result<Output, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let process = Pid::from_raw(child.id().cast_signed());
        let (done, ended) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let output = feed(child, &request);
            // The receiver has gone only where the thread that holds it has panicked.
            let _nobody_waits = done.send(());
            output
        });
        let late = ended.recv_timeout(self.timeout).is_err();
        if late {
            let _gone_meanwhile = kill(process, Signal::SIGKILL);
        }
        let output = waiter.join().expect("waiting does not panic").map_err(|error| error.to_string())?;
        if late { Err("context deadline exceeded".into()) } else { Ok(output) }
    }
}

fn feed(mut child: Child, request: &[u8]) -> std::io::Result<Output> {
    let mut stdin = child.stdin.take().expect("a pipe");
    // A plugin may end before it has read everything.
    drop(stdin.write_all(request));
    drop(stdin);
    child.wait_with_output()
}
