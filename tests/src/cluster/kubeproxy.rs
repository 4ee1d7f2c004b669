//! A node's kube-proxy, which leads the addresses of Services to pods.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::addresses::Families;
use super::controlplane::kube;
use super::eventually::eventually_while;
use super::identity::Identities;
use super::machine::Machine;
use super::programs::Programs;

const NAME: &str = "kube-proxy";
const CONFIG: &str = "/etc/kubernetes/kube-proxy.yaml";
const HEALTH: &str = "127.0.0.1:10256";

/// Starts it in `mode`, `nftables` or `iptables`, and waits until it has written its first rules.
pub fn start(
    node: &Machine,
    programs: &Programs,
    identities: &Identities,
    families: Families,
    mode: &str,
) -> anyhow::Result<()> {
    let kubeconfig = identities.write_kubeconfig("system:kube-proxy")?;
    let config = render_config(node.name(), &kubeconfig, families, mode);
    node.within(|| Ok(fs::write(CONFIG, config)?))?;
    node.start(NAME, kube(programs, "proxy").arg(format!("--config={CONFIG}")))?;
    let alive = || node.alive();
    eventually_while("kube-proxy is healthy", Duration::from_secs(60), alive, || node.within(is_healthy))
}

fn is_healthy() -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(HEALTH)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    Ok(())
}

/// Ends it and has it take its rules away.
pub fn stop(node: &Machine, programs: &Programs) -> anyhow::Result<()> {
    node.stop(NAME)?;
    node.run(kube(programs, "proxy").arg("--cleanup")).map(drop)
}

/// The limits of connection tracking are those of the whole machine, and stay as they are.
fn render_config(node: &str, kubeconfig: &Path, families: Families, mode: &str) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
         kind: KubeProxyConfiguration\n\
         mode: {mode}\n\
         hostnameOverride: {node}\n\
         clientConnection: {{kubeconfig: \"{kubeconfig}\"}}\n\
         clusterCIDR: \"{cidrs}\"\n\
         conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}\n\
         healthzBindAddress: \"{HEALTH}\"\n",
        kubeconfig = kubeconfig.display(),
        cidrs = families.cluster_cidrs().join(","),
    )
}
