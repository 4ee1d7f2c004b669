//! Pods as a test needs them: made, waited for, looked into, deleted.

use std::time::Duration;

use serde_json::Value;

use super::eventually::eventually;
use super::images::BUSYBOX;
use super::kubectl::Kubectl;

/// How long an image of a few megabytes, a sandbox and one container may take on a busy machine.
const POD_LIMIT: Duration = Duration::from_secs(90);

/// A pod of one container that sleeps, in the namespace `default`.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The node it has to run on.
    pub node: String,
    /// Its image. One that is present is not pulled again.
    pub image: String,
    /// Devices and other limits, as in `("tripod.dev/sample", 1)`.
    pub limits: Vec<(String, u32)>,
    /// Ports of the node that lead to one of the pod's, over TCP and UDP, as in `(8080, 80)`.
    pub host_ports: Vec<(u16, u16)>,
    /// By what a Service finds it.
    pub labels: Vec<(String, String)>,
    /// What else is said about it.
    pub annotations: Vec<(String, String)>,
    /// The Secret whose credentials its images are pulled with.
    pub pull_secret: Option<String>,
    /// The ServiceAccount that it runs as; empty for the namespace's own.
    pub account: String,
}

impl Pod {
    /// A pod of the shell image.
    pub fn on(node: &str, name: &str) -> Self {
        let (name, node) = (name.to_owned(), node.to_owned());
        Self {
            name,
            node,
            image: BUSYBOX.to_owned(),
            limits: Vec::new(),
            host_ports: Vec::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            pull_secret: None,
            account: String::new(),
        }
    }

    /// Its manifest. The scheduler places it, as it would any other. With no time to end in it would be
    /// deleted before its node knows.
    pub fn manifest(&self) -> String {
        let limits: Vec<String> =
            self.limits.iter().map(|(name, count)| format!("{name:?}: {count}")).collect();
        let ports =
            self.host_ports.iter().flat_map(|ports| ["TCP", "UDP"].map(|protocol| (*ports, protocol)));
        let ports = ports.map(|((host, own), protocol)| {
            format!("{{hostPort: {host}, containerPort: {own}, protocol: {protocol}}}")
        });
        let pairs = |pairs: &[(String, String)]| {
            pairs.iter().map(|(name, value)| format!("{name}: {value:?}")).collect::<Vec<_>>().join(", ")
        };
        let secrets = self.pull_secret.as_ref().map(|name| format!("{{name: {name}}}")).unwrap_or_default();
        format!(
            r#"apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}, annotations: {{{annotations}}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  imagePullSecrets: [{secrets}]
  serviceAccountName: "{account}"
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {image}
    imagePullPolicy: IfNotPresent
    command: [sleep, "86400"]
    ports: [{ports}]
    resources: {{limits: {{{limits}}}}}
"#,
            name = self.name,
            node = self.node,
            account = self.account,
            image = self.image,
            limits = limits.join(", "),
            ports = ports.collect::<Vec<_>>().join(", "),
            labels = pairs(&self.labels),
            annotations = pairs(&self.annotations)
        )
    }
}

impl Kubectl<'_> {
    /// Makes `pods` and waits until all of them run.
    pub fn run_pods(&self, pods: &[Pod]) -> anyhow::Result<()> {
        let manifests: Vec<String> = pods.iter().map(Pod::manifest).collect();
        self.apply(&manifests.join("---\n"))?;
        pods.iter().try_for_each(|pod| self.wait_for_phase(&pod.name, "Running"))
    }

    /// Waits until the pod `name` is in `phase`. The error tells its events.
    pub fn wait_for_phase(&self, name: &str, phase: &str) -> anyhow::Result<()> {
        let reached = eventually(&format!("pod {name} is {phase}"), POD_LIMIT, || {
            let found = self.pod(name)?["status"]["phase"].as_str().unwrap_or("Unknown").to_owned();
            anyhow::ensure!(found == phase, "it is {found}");
            Ok(())
        });
        reached.map_err(|error| error.context(format!("events:\n{}", self.event_lines(name))))
    }

    /// The pod `name` as the API server has it.
    pub fn pod(&self, name: &str) -> anyhow::Result<Value> {
        self.get(&["pod", name])
    }

    /// The addresses of the pod `name`, in the order of the cluster's families.
    pub fn pod_addresses(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let pod = self.pod(name)?;
        let addresses = pod["status"]["podIPs"].as_array().into_iter().flatten();
        Ok(addresses.filter_map(|address| address["ip"].as_str().map(str::to_owned)).collect())
    }

    /// Runs a command line in the pod `name`.
    pub fn exec(&self, name: &str, words: &[&str]) -> anyhow::Result<String> {
        self.run(&[&["exec", name, "--"], words].concat())
    }

    /// Reason and message of everything that was reported on the pod `name`.
    pub fn events(&self, name: &str) -> anyhow::Result<Vec<(String, String)>> {
        let selector = format!("involvedObject.kind=Pod,involvedObject.name={name}");
        let events = self.get(&["events", "--field-selector", &selector])?;
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let events = events["items"].as_array().into_iter().flatten();
        Ok(events.map(|event| (text(event, "reason"), text(event, "message"))).collect())
    }

    /// Deletes the pod `name` and waits until its node has confirmed that it is gone.
    pub fn delete_pod(&self, name: &str) -> anyhow::Result<()> {
        self.run(&["delete", "pod", name, "--wait", "--timeout=60s"]).map(drop)
    }

    fn event_lines(&self, name: &str) -> String {
        let events = self.events(name).unwrap_or_default();
        events.iter().map(|(reason, message)| format!("    {reason}: {message}\n")).collect()
    }
}
