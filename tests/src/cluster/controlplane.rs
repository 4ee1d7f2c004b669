//! etcd, API server, controller manager and scheduler, all on one machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::addresses::Families;
use super::eventually::eventually_while;
use super::identity::Identities;
use super::kubectl::Kubectl;
use super::programs::Programs;
use super::underlay::Underlay;

const ETCD: &str = "http://127.0.0.1:2379";
const API_SERVER: &str = "apiserver";
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Starts all four on the machine of `underlay` and returns when the API server is ready for its first pod. `folder`
/// takes etcd's data.
pub fn start(
    underlay: &Underlay,
    programs: &Programs,
    identities: &Identities,
    folder: &Path,
) -> anyhow::Result<()> {
    let (machine, families) = (underlay.machine(), underlay.families());
    machine.start("etcd", &mut etcd(programs, &folder.join("etcd")))?;
    start_api_server(underlay, programs, identities)?;
    let kubectl = Kubectl::open(machine, programs, identities, folder)?;
    let alive = || machine.alive();
    eventually_while("the API server is ready", READY_LIMIT, alive, || {
        kubectl.run(&["get", "--raw", "/readyz"])
    })?;
    let mut controllers = controller_manager(programs, identities, folder)?;
    controllers.arg(format!("--cluster-cidr={}", families.cluster_cidrs().join(",")));
    // A mask of a family that the cluster does not speak is refused.
    let masks = ["--node-cidr-mask-size-ipv4=24", "--node-cidr-mask-size-ipv6=64"];
    machine.start("controller-manager", controllers.args(families.of(masks)))?;
    machine.start("scheduler", &mut scheduler(programs, identities)?)?;
    // No pod is accepted before its service account exists.
    eventually_while("the default service account exists", READY_LIMIT, alive, || {
        kubectl.run(&["get", "serviceaccount", "default"]).map(drop)
    })
}

/// Starts the API server, which finds in etcd what it knew.
pub fn start_api_server(
    underlay: &Underlay,
    programs: &Programs,
    identities: &Identities,
) -> anyhow::Result<()> {
    let mut apiserver = apiserver(programs, identities, underlay.families());
    underlay.machine().start(API_SERVER, &mut apiserver)
}

/// Ends it.
pub fn stop_api_server(underlay: &Underlay) -> anyhow::Result<()> {
    underlay.machine().stop(API_SERVER)
}

fn etcd(programs: &Programs, data: &Path) -> Command {
    let mut etcd = Command::new(programs.built("etcd"));
    etcd.arg(format!("--data-dir={}", data.display()));
    etcd.arg(format!("--listen-client-urls={ETCD}")).arg(format!("--advertise-client-urls={ETCD}"));
    // Nothing of it is wanted after a crash.
    etcd.args(["--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync"]);
    etcd
}

fn apiserver(programs: &Programs, identities: &Identities, families: Families) -> Command {
    let (key, certificate) = (identities.key(), identities.certificate());
    let mut apiserver = kube(programs, "apiserver");
    apiserver.arg(format!("--etcd-servers={ETCD}"));
    apiserver.args(["--bind-address=::", "--secure-port=6443", "--allow-privileged=true"]);
    apiserver.arg(format!("--advertise-address={}", families.api_server().ip()));
    apiserver.arg(format!("--tls-cert-file={}", certificate.display()));
    apiserver.arg(format!("--tls-private-key-file={}", key.display()));
    apiserver.arg(format!("--service-account-key-file={}", certificate.display()));
    apiserver.arg(format!("--service-account-signing-key-file={}", key.display()));
    apiserver.arg("--service-account-issuer=https://kubernetes.default.svc");
    apiserver.arg(format!("--token-auth-file={}", identities.tokens().display()));
    // As on a real cluster: kubelets may write their own Node only, and pods what their roles say.
    apiserver.args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
    apiserver.arg(format!("--service-cluster-ip-range={}", families.service_cidrs().join(",")));
    // Nobody resolves the names of nodes here, and `kubectl exec` asks the API server to.
    apiserver.arg("--kubelet-preferred-address-types=InternalIP");
    apiserver
}

fn controller_manager(
    programs: &Programs,
    identities: &Identities,
    folder: &Path,
) -> anyhow::Result<Command> {
    let kubeconfig = identities.write_kubeconfig("system:kube-controller-manager")?;
    let mut controllers = kube(programs, "controller-manager");
    controllers.arg(format!("--kubeconfig={}", kubeconfig.display()));
    controllers.args(["--leader-elect=false", "--use-service-account-credentials=true"]);
    controllers.arg(format!("--service-account-private-key-file={}", identities.key().display()));
    controllers.arg(format!("--root-ca-file={}", identities.authority().display()));
    controllers.arg("--allocate-node-cidrs=true");
    // Which it makes if it is not there.
    controllers.arg(format!("--flex-volume-plugin-dir={}", folder.join("volume-plugins").display()));
    Ok(controllers)
}

fn scheduler(programs: &Programs, identities: &Identities) -> anyhow::Result<Command> {
    let kubeconfig = identities.write_kubeconfig("system:kube-scheduler")?;
    let mut scheduler = kube(programs, "scheduler");
    scheduler.arg(format!("--kubeconfig={}", kubeconfig.display())).arg("--leader-elect=false");
    Ok(scheduler)
}

/// One of the programs of Kubernetes.
pub(super) fn kube(programs: &Programs, program: &str) -> Command {
    let mut kube = Command::new(programs.kube());
    kube.arg(program);
    kube
}
