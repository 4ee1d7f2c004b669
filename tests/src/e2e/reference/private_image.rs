//! The registry of the test network asks for its password, and accepts it.

use std::time::Duration;

use super::network::install_network;
use crate::cluster::eventually::eventually;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl, images, registry};

pub(super) fn the_password_decides(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    install_network(cluster, &kubectl)?;
    let reference = registry::reference("team/private:1");
    step("an image is in a registry with a password", || publish(cluster, &reference))?;
    let node = cluster.nodes()[1].name();
    let outsider = Pod { image: reference, ..Pod::on(node, "outsider") };
    let insider = Pod {
        pull_secret: Some("registry".to_owned()),
        ..Pod { name: "insider".to_owned(), ..outsider.clone() }
    };
    step("a pod without the password does not get it", || is_refused(&kubectl, &outsider))?;
    step("a pod with the password runs", || {
        kubectl.apply(&pull_secret("registry"))?;
        kubectl.run_pods(std::slice::from_ref(&insider))
    })?;
    [outsider, insider].iter().try_for_each(|pod| kubectl.delete_pod(&pod.name))
}

fn publish(cluster: &Cluster, reference: &str) -> anyhow::Result<()> {
    cluster.start_registry()?;
    let image = images::busybox(cluster.programs(), reference)?;
    registry::push(&cluster.nodes()[0], &cluster.write_image("private", &image)?, reference)
}

fn is_refused(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    kubectl.apply(&pod.manifest())?;
    eventually("an event tells of the refusal", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let refused = |(reason, message): &(String, String)| {
            reason == "Failed" && (message.contains("401") || message.contains("authorization failed"))
        };
        anyhow::ensure!(events.iter().any(refused), "there are {events:?}");
        Ok(())
    })
}

fn pull_secret(name: &str) -> String {
    let (user, password, server) = (registry::USER, registry::PASSWORD, registry::reference(""));
    let auths = serde_json::json!({ "auths": { server.trim_end_matches('/'): { "username": user, "password": password } } });
    format!(
        "apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{name: {name}}}\n\
         type: kubernetes.io/dockerconfigjson\n\
         stringData: {{.dockerconfigjson: '{auths}'}}\n"
    )
}
