//! An image in a registry that takes no password but a token of a service, which is given for one: so most registries
//! do it. The runtime makes the exchange with what the provider has answered.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use super::install;
use crate::cluster::addresses::{REGISTRY, REGISTRY_NAME, REGISTRY_PORT};
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::registry::{PASSWORD, Tokens, USER};
use crate::cluster::{Cluster, Kubectl, images, registry};
use crate::farend::Server;
use crate::farend::realm::{ROUTE, Realm};

const BIN_DIR: &str = "/opt/tripod/credential-provider";
/// Not the one that the DaemonSet keeps.
const OUR_CONFIG: &str = "/etc/kubernetes/tripod-token-registry.yaml";
const AUTH: &str = "/etc/kubernetes/token-registry-auth.json";
const KUBELET_CONFIG: &str = "/etc/kubernetes/credential-providers.yaml";
const IMAGE: &str = "team/tokened:1";
const PORT: u16 = REGISTRY_PORT + 2;
const REALM_PORT: u16 = REGISTRY_PORT + 3;
const SERVICE: &str = "registry of the test";
const ISSUER: &str = "token service of the test";

pub(super) fn the_credentials_are_worth_a_token(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[1];
    let realm = step("an image is in a registry that trusts a token service", || publish(cluster))?;
    step("the registry takes no password", || takes_no_password(cluster))?;
    step("the kubelet is wired as kubelet-config prints", || wire(node))?;
    step("its node is Ready again", || kubectl.wait_for_heartbeat(node.name()))?;
    let pod = |name: &str| Pod { image: format!("{}/{IMAGE}", server()), ..Pod::on(node.name(), name) };
    step("with a wrong password the token service gives nothing, and the event says so", || {
        write_password(node, "not the password")?;
        is_refused(&kubectl, &pod("wrong-token-password"))
    })?;
    anyhow::ensure!(realm.count(ROUTE) > 0, "nobody asked the token service");
    realm.forget();
    let ours = pod("token-password");
    step("with the password, and no further restart, a pod runs", || {
        write_password(node, PASSWORD)?;
        kubectl.run_pods(std::slice::from_ref(&ours))
    })?;
    step("it was for the image's repository that the token was asked", || asked_for_repository(&realm))?;
    kubectl.delete_pod(&ours.name)
}

/// Host and port of the registry, as images name it.
fn server() -> String {
    format!("{REGISTRY_NAME}:{PORT}")
}

/// The image comes in by the other registry's door.
fn publish(cluster: &Cluster) -> anyhow::Result<Server> {
    cluster.start_registry()?;
    let reference = registry::reference(IMAGE);
    let image = images::busybox(cluster.programs(), &reference)?.marked("tokened");
    registry::push(&cluster.nodes()[0], &cluster.write_image("tokened", &image)?, &reference)?;
    let realm = Realm::new(ISSUER, SERVICE, USER, PASSWORD);
    let address = format!("http://{REGISTRY_NAME}:{REALM_PORT}/token");
    let certificate = realm.certificate().to_owned();
    let tokens = Tokens { realm: &address, service: SERVICE, issuer: ISSUER, certificate: &certificate };
    cluster.start_token_registry(PORT, tokens)?;
    let place = SocketAddr::from((REGISTRY.v4, REALM_PORT));
    cluster.underlay().within_network(|| Ok(Server::start_on(place, realm)))
}

fn takes_no_password(cluster: &Cluster) -> anyhow::Result<()> {
    let place = SocketAddr::from((REGISTRY.v4, PORT));
    let ask = || Ok(crate::registry::get(place, "/v2/", Some((USER, PASSWORD)))?);
    let status = cluster.underlay().within_network(ask)?;
    anyhow::ensure!(status == 401, "it answered {status}");
    Ok(())
}

/// One of the requests that were good had this repository in mind.
fn asked_for_repository(realm: &Server) -> anyhow::Result<()> {
    let (name, _) = IMAGE.split_once(':').expect("a name and a tag");
    let wanted = format!("repository:{name}:pull");
    let seen = realm.seen();
    let is_good = |request: &crate::farend::Request| {
        request.parameter("scope").as_ref() == Some(&wanted)
            && request.basic() == Some((USER.to_owned(), PASSWORD.to_owned()))
    };
    anyhow::ensure!(seen.iter().any(|seen| is_good(&seen.request)), "there were {seen:?}");
    Ok(())
}

fn wire(node: &Node) -> anyhow::Result<()> {
    node.within(|| write_files().map_err(Into::into))?;
    let provider = format!("{BIN_DIR}/tripod-credential-provider");
    let options = ["kubelet-config", "--config", OUR_CONFIG, "--bin-dir", BIN_DIR];
    let printed = node.exec(&[&[provider.as_str()], &options[..]].concat())?;
    node.within(|| Ok(fs::write(KUBELET_CONFIG, printed)?))?;
    node.restart_kubelet(&[
        format!("--image-credential-provider-config={KUBELET_CONFIG}"),
        format!("--image-credential-provider-bin-dir={BIN_DIR}"),
    ])
}

/// Our configuration, and the runtime's for a registry without a certificate.
fn write_files() -> std::io::Result<()> {
    let server = server();
    let entry = format!("- {{match: [\"{server}\"], provider: docker-config, file: {AUTH}}}\n");
    fs::write(OUR_CONFIG, format!("version: v1\nregistries:\n{entry}"))?;
    let folder = format!("/etc/containerd/certs.d/{server}");
    fs::create_dir_all(&folder)?;
    let hosts = format!(
        "server = \"http://{server}\"\n[host.\"http://{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::write(format!("{folder}/hosts.toml"), hosts)
}

fn write_password(node: &Node, password: &str) -> anyhow::Result<()> {
    let auths = serde_json::json!({"auths": {server(): {"username": USER, "password": password}}});
    node.within(|| {
        fs::write(AUTH, auths.to_string())?;
        Ok(fs::set_permissions(AUTH, std::os::unix::fs::PermissionsExt::from_mode(0o600))?)
    })
}

fn is_refused(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    kubectl.apply(&pod.manifest())?;
    eventually("an event tells of the refusal", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let refused = |message: &str| {
            message.contains(&format!("{REGISTRY_NAME}:{REALM_PORT}/token")) && message.contains("401")
        };
        anyhow::ensure!(events.iter().any(|(_, message)| refused(message)), "there are {events:?}");
        Ok(())
    })?;
    kubectl.delete_pod(&pod.name)
}
