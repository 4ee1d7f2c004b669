//! A drop in another's table: the agent says where it is and what to do, and says it once.

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::namespace::Namespace;

use super::restore::{Pod, Site};

const LOST: &str = "packets to and from pods may be lost";

/// As Docker leaves it, but for its own chains.
const DOCKER: &str = "nft 'table ip filter { chain DOCKER-USER { }; \
    chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }; }'";

/// Lines of the log with this message.
fn told(site: &Site, message: &str) -> Vec<Value> {
    let lines = site.agent.log();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a document"));
    lines.filter(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).collect()
}

fn reaches(pod: &Namespace, address: &str) -> bool {
    pod.try_sh(&format!("ping -c1 -W1 {address}")).status.success()
}

/// A node with a pod that reaches 172.30.0.1 outside of it.
struct Outing {
    site: Site,
    pod: Pod,
    _far: Namespace,
}

impl Outing {
    fn new() -> Option<Self> {
        let site = Site::new()?;
        let far = Namespace::sandbox();
        site.lab.node.sh(&format!("ip link set outside netns {}", far.path().display()));
        far.sh("ip link set outside up; ip addr add 172.30.0.1/24 dev outside");
        let pod = site.routed("web", json!([]));
        eventually("the pod reaches the outside", || reaches(&pod.sandbox, "172.30.0.1"));
        Some(Self { site, pod, _far: far })
    }
}

#[test]
fn a_foreign_drop_is_told_once_and_again_when_it_changed() {
    let Some(site) = Site::new() else { return };
    let node = &site.lab.node;
    assert_eq!(told(&site, LOST), Vec::<Value>::new());
    node.sh(DOCKER);
    site.agent.wait_for_log(LOST);
    site.wait_for_looks(2);
    let [line]: [Value; 1] = told(&site, LOST).try_into().expect("one line");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["chain"], "chain FORWARD of nftables table ip filter on hook forward has policy drop");

    node.sh("nft add chain ip filter FORWARD '{ policy accept; }'");
    site.agent.wait_for_log("this is no more");
    assert_eq!(told(&site, "this is no more")[0]["chain"], line["chain"]);
    // Another cause is another finding.
    node.sh("nft add rule ip filter FORWARD counter reject");
    eventually("the rule is told", || told(&site, LOST).len() == 2);
    let rule =
        "chain FORWARD of nftables table ip filter on hook forward ends in a rule that drops or rejects";
    assert_eq!(told(&site, LOST)[1]["chain"], rule);
    node.sh("nft flush chain ip filter FORWARD; nft add chain ip filter FORWARD '{ policy drop; }'");
    eventually("the policy is told again", || told(&site, LOST).len() == 3);
    site.wait_for_looks(2);
    assert_eq!((told(&site, LOST).len(), told(&site, "this is no more").len()), (3, 2));
}

#[test]
fn the_remedy_that_is_told_lets_pods_pass() {
    let Some(Outing { site, pod, _far }) = Outing::new() else { return };
    let node = &site.lab.node;
    node.sh(DOCKER);
    site.agent.wait_for_log(LOST);
    assert!(!reaches(&pod.sandbox, "172.30.0.1"));
    let [line]: [Value; 1] = told(&site, LOST).try_into().expect("one line");
    let fix = line["fix"].as_str().expect("a remedy");
    let commands = fix.split("nft ").skip(1).map(|rest| rest.split("accept").next().expect("a rule"));
    let commands: Vec<String> = commands.map(|rule| format!("nft {rule}accept")).collect();
    assert_eq!(commands.len(), 2, "to and from the pods of the one family: {fix}");
    commands.iter().for_each(|command| drop(node.sh(command)));
    assert!(reaches(&pod.sandbox, "172.30.0.1"), "{fix}");
    let rules = node.json("nft -j list chain ip filter FORWARD").to_string();
    assert!(rules.contains("saddr") && rules.contains("daddr"), "{rules}");
    assert_eq!(told(&site, LOST).len(), 1, "what is known is not told again");
}

#[test]
fn where_the_admin_wants_it_pods_pass_and_the_rest_stays_as_it_was() {
    let Some(Outing { site, pod, _far }) = Outing::new() else { return };
    let node = &site.lab.node;
    node.sh(DOCKER);
    let before = node.sh("nft list table ip filter");
    site.agent.wait_for_log(LOST);
    assert!(!reaches(&pod.sandbox, "172.30.0.1"));

    site.lab.configure("version: v1\nforwardDrop: repair\n");
    eventually("the pod reaches the outside again", || reaches(&pod.sandbox, "172.30.0.1"));
    site.agent.wait_for_log("this is no more");
    let rules = node.json("nft -j list chain ip filter FORWARD");
    let comments = rules["nftables"].as_array().expect("a list").iter();
    let comments: Vec<_> = comments.filter_map(|object| object["rule"]["comment"].as_str()).collect();
    assert_eq!(comments, ["tripod: from 10.244.1.0/24", "tripod: to 10.244.1.0/24"], "{rules}");
    node.sh("nft add rule ip filter DOCKER-USER ip daddr 172.30.0.1 counter drop");
    eventually("what others say of some packets holds", || !reaches(&pod.sandbox, "172.30.0.1"));
    node.sh("nft flush chain ip filter DOCKER-USER");

    node.sh("nft flush chain ip filter FORWARD");
    eventually("the rules are back", || reaches(&pod.sandbox, "172.30.0.1"));
    node.sh("nft flush chain ip filter FORWARD; nft add rule ip filter FORWARD jump DOCKER-USER; \
             nft add rule ip filter FORWARD counter drop");
    eventually("and before what drops the rest", || reaches(&pod.sandbox, "172.30.0.1"));
    let order = node.sh("nft list chain ip filter FORWARD | grep -o 'jump DOCKER-USER\\|tripod: to\\|drop$'");
    assert_eq!(order, "jump DOCKER-USER\ntripod: to\ndrop\n");
    node.sh("nft delete rule ip filter FORWARD handle $(nft -a list chain ip filter FORWARD | awk '/drop # handle/ {print $NF}')");

    site.lab.configure("version: v1\n");
    eventually("all is as it was", || node.sh("nft list table ip filter") == before);
    assert!(!reaches(&pod.sandbox, "172.30.0.1"));
}

#[test]
fn rules_that_nothing_needs_any_more_go() {
    let Some(site) = Site::new() else { return };
    let node = &site.lab.node;
    let ours = || node.sh("nft list ruleset").matches("tripod: ").count();
    site.lab.configure("version: v1\nforwardDrop: repair\n");
    node.sh("nft 'table inet foreign { chain one { type filter hook forward priority 0; counter drop; }; \
         chain two { type filter hook forward priority 1; policy drop; }; }'");
    eventually("both chains let pods pass", || ours() == 8);
    node.sh("nft flush chain inet foreign one");
    eventually("only one does by our rules", || ours() == 4);
    node.sh("nft add chain inet foreign two '{ policy accept; }'");
    eventually("none does", || ours() == 0);
}

#[test]
fn a_ruleset_that_others_change_meanwhile_is_looked_at_again_and_no_error() {
    let Some(site) = Site::new() else { return };
    let node = &site.lab.node;
    site.lab.configure("version: v1\nforwardDrop: repair\n");
    let ours = || node.sh("nft list ruleset").matches("tripod: ").count();
    for round in 0..10 {
        node.sh(&format!(
            "nft 'table ip other{round} {{ chain one {{ type filter hook forward priority 0; policy drop; }}; }}'; \
             for it in $(seq 40); do nft add table ip busy; nft delete table ip busy; done"
        ));
        eventually("pods pass there", || ours() == 2 * (round + 1));
    }
    assert_eq!(told(&site, "cannot let pods pass"), Vec::<Value>::new());
}
