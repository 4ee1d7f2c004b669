//! Devices on the real kubelet: by CDI, through restarts, and by NUMA node.

use std::collections::BTreeSet;
use std::time::Duration;

use super::install::{self, BY_CDI, FUNCTION, MADE_SYS};
use crate::cluster::crictl::Cri;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

/// Device nodes that the tests make on one node, which behave as `/dev/zero` and `/dev/full` do.
const CARDS: [(&str, &str); 2] = [("/dev/tripod-card0", "5"), ("/dev/tripod-card1", "7")];
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn each_pod_gets_its_own(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    plug(node)?;
    step("the node offers two cards", || offers(&kubectl, node, BY_CDI, "2"))?;
    let pods = ["card-a", "card-b"].map(|name| asking(node, name, BY_CDI, 1));
    step("two pods run", || kubectl.run_pods(&pods))?;
    step("each has one card, and not the same", || have_one_each(&kubectl, &pods))?;
    let [first, _] = &pods;
    let theirs = cards_of(&kubectl, first)?.remove(0);
    step("their status says that the cards are well", || health(&kubectl, first, "Healthy"))?;
    step("the plugin knows that the kubelet has its list", || agrees(cluster, node))?;
    node.exec(&["rm", &theirs])?;
    step("a card that is gone shows in the status of its pod", || health(&kubectl, first, "Unhealthy"))?;
    step("and can be had by nobody", || offers(&kubectl, node, BY_CDI, "1"))?;
    plug(node)?;
    step("back again it shows too", || health(&kubectl, first, "Healthy"))?;
    pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name))?;
    unplug(node)
}

pub(super) fn restarts_lose_nothing(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    plug(node)?;
    step("the node offers two cards", || offers(&kubectl, node, BY_CDI, "2"))?;
    let [first, second, third] = ["card-a", "card-b", "card-c"].map(|name| asking(node, name, BY_CDI, 1));
    step("a pod has one", || kubectl.run_pods(std::slice::from_ref(&first)))?;
    let theirs = cards_of(&kubectl, &first)?;
    step("the kubelet begins anew, and offers both again", || {
        node.restart_kubelet(&[])?;
        kubectl.wait_for_heartbeat(node.name())?;
        offers(&kubectl, node, BY_CDI, "2")
    })?;
    step("a second pod gets the other one", || {
        kubectl.run_pods(std::slice::from_ref(&second))?;
        have_one_each(&kubectl, &[first.clone(), second.clone()])
    })?;
    step("the device plugin is killed and comes back", || kill_plugin(&kubectl, node))?;
    step("the node offers both again", || offers(&kubectl, node, BY_CDI, "2"))?;
    step("a container that begins anew has its card again", || {
        restart_container(node, &first)?;
        eventually("the container runs again", LIMIT, || {
            anyhow::ensure!(cards_of(&kubectl, &first)? == theirs, "it has another card");
            Ok(())
        })
    })?;
    kubectl.delete_pod(&second.name)?;
    step("what it gave back can be had", || {
        kubectl.run_pods(std::slice::from_ref(&third))?;
        have_one_each(&kubectl, &[first.clone(), third.clone()])
    })?;
    [first, third].iter().try_for_each(|pod| kubectl.delete_pod(&pod.name))?;
    unplug(node)
}

/// The watcher dials with an authority that the plugin's HTTP/2 library refuses.
pub(super) fn the_plugin_watcher_finds_it(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    plug(node)?;
    let daemonset = ["daemonset", "tripod", "--namespace=tripod-system"];
    step("the DaemonSet is told to be found by the watcher", || {
        kubectl.run(&[&["patch"], &daemonset[..], &["--patch", &by_watcher()]].concat())?;
        kubectl.run(&[&["rollout", "status"], &daemonset[..], &["--timeout=90s"]].concat())
    })?;
    step("no socket is left where the kubelet is asked", || {
        let sockets = node.exec(&["sh", "-c", "find /var/lib/kubelet/device-plugins -name 'tripod-*'"])?;
        anyhow::ensure!(sockets.is_empty(), "there are {sockets}");
        Ok(())
    })?;
    step("the node offers two cards", || offers(&kubectl, node, BY_CDI, "2"))?;
    let pod = asking(node, "card-w", BY_CDI, 1);
    step("a pod gets one", || {
        kubectl.run_pods(std::slice::from_ref(&pod))?;
        have_one_each(&kubectl, std::slice::from_ref(&pod))
    })?;
    step("the kubelet begins anew, and offers both again", || {
        node.restart_kubelet(&[])?;
        kubectl.wait_for_heartbeat(node.name())?;
        offers(&kubectl, node, BY_CDI, "2")
    })?;
    kubectl.delete_pod(&pod.name)?;
    step("the DaemonSet is as it was", || {
        kubectl.run(&[&["rollout", "undo"], &daemonset[..]].concat())?;
        kubectl.run(&[&["rollout", "status"], &daemonset[..], &["--timeout=90s"]].concat())?;
        offers(&kubectl, node, BY_CDI, "2")
    })?;
    unplug(node)
}

/// What the README tells to add.
fn by_watcher() -> String {
    let folder = "/var/lib/kubelet/plugins_registry";
    serde_json::json!({"spec": {"template": {"spec": {
        "containers": [{
            "name": "device-plugin",
            "command": [
                "/tripod-device-plugin", "run", "--config=/config/device-plugin.yaml", "--host-root=/host",
                "--registration=watcher",
            ],
            "volumeMounts": [{"name": "plugins-registry", "mountPath": folder}],
        }],
        "volumes": [{"name": "plugins-registry", "hostPath": {"path": folder, "type": "Directory"}}],
    }}}})
    .to_string()
}

pub(super) fn one_numa_node_or_none(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    make_card(node)?;
    step("the node offers four virtual functions", || offers(&kubectl, node, FUNCTION, "4"))?;
    step("the kubelet begins anew with the policy single-numa-node", || {
        node.restart_kubelet(&["--topology-manager-policy=single-numa-node".to_owned()])?;
        kubectl.wait_for_heartbeat(node.name())?;
        offers(&kubectl, node, FUNCTION, "4")
    })?;
    let two = asking(node, "functions-two", FUNCTION, 2);
    step("two that hang on one NUMA node can be had, with their addresses", || {
        kubectl.run_pods(std::slice::from_ref(&two))?;
        let addresses = kubectl.exec(&two.name, &["sh", "-c", "echo $PCIDEVICE_TRIPOD_TEST_FUNCTION"])?;
        anyhow::ensure!(addresses.trim() == "0000:3b:02.0,0000:3b:02.1", "they are {addresses}");
        Ok(())
    })?;
    kubectl.delete_pod(&two.name)?;
    let three = asking(node, "functions-three", FUNCTION, 3);
    step("three are refused, for they hang on two", || {
        kubectl.apply(&three.manifest())?;
        eventually("the kubelet refuses the pod", LIMIT, || {
            let status = kubectl.pod(&three.name)?["status"].take();
            anyhow::ensure!(status["reason"] == "TopologyAffinityError", "it is {status}");
            Ok(())
        })
    })?;
    kubectl.delete_pod(&three.name)?;
    node.exec(&["rm", "-r", MADE_SYS])?;
    node.exec(&["mkdir", MADE_SYS])?;
    step("the kubelet begins anew as it was", || {
        node.restart_kubelet(&[])?;
        kubectl.wait_for_heartbeat(node.name())
    })
}

/// A network card with four virtual functions, two on each of two NUMA nodes. The functions of a real card
/// share one; what the kubelet makes of several is the point here.
fn make_card(node: &Node) -> anyhow::Result<()> {
    let card = format!("{MADE_SYS}/bus/pci/devices/0000:3b:00.0");
    let mut script = format!(
        "mkdir -p {card}/net/card0 && cd {card} && echo 0x8086 >vendor && echo 0x1572 >device && \
         echo 0x020000 >class && echo 4 >sriov_numvfs && echo 1 >net/card0/type && echo up >net/card0/operstate"
    );
    for numa in [0, 1] {
        let place = format!("{MADE_SYS}/devices/system/node/node{numa}");
        script.push_str(&format!(" && mkdir -p {place} && echo 0-1 >{place}/cpulist"));
    }
    for number in 0..4 {
        let function = format!("{MADE_SYS}/bus/pci/devices/0000:3b:02.{number}");
        script.push_str(&format!(
            " && mkdir {function} && cd {function} && echo 0x8086 >vendor && echo 0x154c >device && \
             echo 0x020000 >class && echo {numa} >numa_node && ln -s ../0000:3b:00.0 physfn && \
             ln -s ../0000:3b:02.{number} ../0000:3b:00.0/virtfn{number}",
            numa = number / 2
        ));
    }
    // The kernel tells nobody of PCI functions by inotify: a change of /dev makes the plugin look.
    script.push_str(" && mknod /dev/tripod-nudge c 1 3 && rm /dev/tripod-nudge");
    node.exec(&["sh", "-c", &script]).map(drop)
}

fn plug(node: &Node) -> anyhow::Result<()> {
    for (path, minor) in CARDS {
        node.exec(&["sh", "-c", &format!("test -e {path} || mknod -m 666 {path} c 1 {minor}")])?;
    }
    Ok(())
}

fn unplug(node: &Node) -> anyhow::Result<()> {
    CARDS.iter().try_for_each(|(path, _)| node.exec(&["rm", "-f", path]).map(drop))
}

fn asking(node: &Node, name: &str, resource: &str, count: u32) -> Pod {
    Pod { limits: vec![(resource.to_owned(), count)], ..Pod::on(node.name(), name) }
}

fn offers(kubectl: &Kubectl<'_>, node: &Node, resource: &str, count: &str) -> anyhow::Result<()> {
    eventually(&format!("{} offers {count} of {resource}", node.name()), LIMIT, || {
        let allocatable = kubectl.get(&["node", node.name()])?["status"]["allocatable"].take();
        anyhow::ensure!(allocatable[resource] == count, "it offers {allocatable}");
        Ok(())
    })
}

/// The cards that the container of `pod` can open.
fn cards_of(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<Vec<String>> {
    let script = "for card in /dev/tripod-card*; do dd if=$card of=/dev/null bs=1 count=1 2>/dev/null && echo $card; done";
    let said = kubectl.exec(&pod.name, &["sh", "-c", script])?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn have_one_each(kubectl: &Kubectl<'_>, pods: &[Pod]) -> anyhow::Result<()> {
    let mut all = BTreeSet::new();
    for pod in pods {
        let cards = cards_of(kubectl, pod)?;
        anyhow::ensure!(cards.len() == 1, "{} has {cards:?}", pod.name);
        anyhow::ensure!(
            all.insert(cards[0].clone()),
            "{} has a card that another pod has: {cards:?}",
            pod.name
        );
    }
    Ok(())
}

/// What the kubelet says of the pod's devices (KEP-4680).
fn health(kubectl: &Kubectl<'_>, pod: &Pod, wanted: &str) -> anyhow::Result<()> {
    eventually(&format!("the status of {} says {wanted}", pod.name), LIMIT, || {
        let mut status = kubectl.pod(&pod.name)?["status"]["containerStatuses"][0].take();
        let resources = status["allocatedResourcesStatus"].take();
        let said = &resources[0]["resources"][0]["health"];
        anyhow::ensure!(resources[0]["name"] == BY_CDI && said == wanted, "it says {resources}");
        Ok(())
    })
}

/// What podresources told the plugin, as its readiness says.
fn agrees(cluster: &Cluster, node: &Node) -> anyhow::Result<()> {
    let busybox = cluster.programs().busybox();
    eventually("the kubelet's own list is the plugin's", LIMIT, || {
        let said =
            node.exec(&[&busybox.to_string_lossy(), "wget", "-qO-", "http://127.0.0.1:9676/readyz"])?;
        let card = said.lines().find(|line| line.contains(BY_CDI));
        anyhow::ensure!(card.is_some_and(|line| line.contains("the kubelet has the same")), "it says {said}");
        Ok(())
    })
}

/// As the kernel does when memory runs out: no signal that could be handled.
fn kill_plugin(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    let cri = Cri::on(node.machine());
    let before = cri.running_container("device-plugin")?;
    node.exec(&["kill", "-9", &cri.process_of(&before)?])?;
    eventually("a new device plugin runs", LIMIT, || {
        let now = cri.running_container("device-plugin")?;
        anyhow::ensure!(now != before, "the old one runs");
        Ok(())
    })?;
    install::rolled_out(kubectl)
}

fn restart_container(node: &Node, pod: &Pod) -> anyhow::Result<()> {
    let cri = Cri::on(node.machine());
    let before = cri.container_of(&pod.name)?;
    node.exec(&["kill", "-9", &cri.process_of(&before)?])?;
    eventually("a new container runs", LIMIT, || {
        anyhow::ensure!(cri.container_of(&pod.name)? != before, "the old one runs");
        Ok(())
    })
}
