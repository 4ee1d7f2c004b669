//! What `kubelet-config` prints, taken by the kubelet's own code.

use serde_json::{Value, json};
use tripod_tests::farend::exchange::Quay;
use tripod_tests::farend::jwt::{Expected, Issuer, claims};

use super::keyring::{Answer, Wiring, ask, program};
use super::world::World;
use super::{IMAGE, Node, PASSWORD, USER, login};

const PLATFORMS: [&str; 14] = [
    "plain",
    "kubeadm",
    "kind",
    "k3s",
    "rke2",
    "k0s",
    "microk8s",
    "minikube",
    "eks",
    "gke",
    "aks",
    "openshift",
    "talos",
    "bottlerocket",
];
const HARBOR: &str = "harbor.example.com/team/app";
const ACCOUNT: &str = "team/puller";

/// Follows what `kubelet-config` prints for `node`.
fn wire(node: &Node, more: &[&str]) -> Wiring {
    let wiring = Wiring::new();
    let bin_dir = wiring.bin_dir().display().to_string();
    let ran = node.run(&[&["kubelet-config", "--bin-dir", &bin_dir], more].concat(), b"");
    assert!(ran.success && ran.stderr.is_empty(), "{ran:?}");
    wiring.follow(&ran.stdout);
    wiring
}

/// A node whose second registry takes the pod's token as it is.
fn node_with_harbor() -> Node {
    let node = Node::new();
    let harbor = "  - match: [harbor.example.com]\n    provider: harbor\n    tokenAudience: harbor\n";
    node.write("config.yaml", &node.entry("registry.example.com:5000", harbor));
    node
}

fn pull(image: &str) -> Value {
    json!({"image": image})
}

/// A pull by a pod of `name`, for which the API server has these tokens.
fn pull_of(image: &str, name: &str, tokens: &Value) -> Value {
    let (namespace, account) = name.split_once('/').unwrap();
    let uid = format!("uid of {name}");
    json!({"image": image, "account": {"namespace": namespace, "name": account, "uid": uid, "tokens": tokens}})
}

#[test]
fn the_kubelet_takes_it_for_every_platform_and_release_that_has_the_same_file() {
    if program().is_none() {
        return;
    }
    let (plain, harbor) = (Node::new(), node_with_harbor());
    for platform in PLATFORMS {
        let releases: &[&str] =
            if platform == "plain" { &["1.33", "1.34", "1.35", "1.36", "1.37"] } else { &["1.37"] };
        for release in releases {
            let options = ["--platform", platform, "--kubelet-version", release];
            assert_eq!(wire(&plain, &options).refusal(), None, "{platform} {release}");
            let refusal = wire(&harbor, &options).refusal();
            match *release {
                // There is no cacheType in 1.33, and this kubelet asks for it.
                "1.33" => assert!(refusal.unwrap().contains("cacheType"), "{platform}"),
                _ => assert_eq!(refusal, None, "{platform} {release}"),
            }
        }
    }
}

#[test]
fn check_config_is_content_with_it_for_every_release() {
    let node = node_with_harbor();
    for release in ["1.26", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"] {
        let wiring = wire(&node, &["--kubelet-version", release]);
        let (file, bin_dir) = (wiring.file().display().to_string(), wiring.bin_dir().display().to_string());
        let options =
            ["--kubelet-config", &file, "--bin-dir", &bin_dir, "--kubelet-version", release, "--json"];
        let ran = node.run(&[&["check-config"], &options[..]].concat(), b"");
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
        let about_it = findings.iter().filter(|one| one["check"].as_str().unwrap().starts_with("kubelet-"));
        let bad: Vec<_> = about_it.filter(|one| one["severity"] != "ok").collect();
        let gate = |one: &Value| one["evidence"].as_str().unwrap().contains("feature gate");
        assert!(ran.success && bad.iter().all(|one| release == "1.33" && gate(one)), "{release}: {bad:#?}");
    }
}

#[test]
fn passwords_of_a_docker_config_arrive_with_and_without_a_path() {
    if program().is_none() {
        return;
    }
    let node = Node::new();
    let auths = json!({"auths": {
        "registry.example.com:5000": login(USER, PASSWORD),
        "registry.example.com:5000/team/": login("team", "of the team"),
    }});
    node.write("auth.json", &auths.to_string());
    let wiring = wire(&node, &[]);
    let others = "registry.example.com:5000/other/app";
    let job = wiring.job(&[pull(IMAGE), pull(others), pull("registry.example.com/team/app")]);
    let Answer { refused, logins } = Answer::of(ask(&job));
    assert_eq!(refused, None);
    let (team, all) = (["team", "of the team"].map(str::to_owned), [USER, PASSWORD].map(str::to_owned));
    assert_eq!(logins, [vec![team], vec![all], vec![]]);
}

#[test]
fn a_pods_token_is_passed_on_as_the_password_of_its_own_pod() {
    if program().is_none() {
        return;
    }
    let cluster = Issuer::new("https://cluster.example");
    let [one, other] = [ACCOUNT, "team/other"].map(|name| cluster.service_account(name, "harbor", 600));
    let node = node_with_harbor();
    let wiring = wire(&node, &[]);
    let Answer { refused, logins } = Answer::of(ask(&wiring.job(&[
        pull_of(HARBOR, ACCOUNT, &json!({"harbor": one})),
        pull_of(HARBOR, "team/other", &json!({"harbor": other})),
        pull_of(HARBOR, ACCOUNT, &json!({"elsewhere": one})),
        pull(HARBOR),
        pull_of(IMAGE, ACCOUNT, &json!({"harbor": one})),
    ])));
    assert_eq!(refused, None);
    let jwt = |token: String| vec![["jwt".to_owned(), token]];
    let own = vec![[USER, PASSWORD].map(Into::into)];
    assert_eq!(logins, [jwt(one), jwt(other), vec![], vec![], own]);
}

#[test]
fn a_pods_token_is_exchanged_for_that_of_a_robot() {
    let (Some(mut world), Some(_)) = (World::new(), program()) else { return };
    let cluster = Issuer::new("https://cluster.example");
    let quay = Quay::new("team+puller", Expected::service_account(&cluster, ACCOUNT, "quay"));
    let _server = world.serve("registry.example.com", quay);
    let lines =
        ["match: [registry.example.com]", "provider: quay", "robot: team+puller", "tokenAudience: quay"];
    world.configure(&lines);
    let wiring = Wiring::new();
    let bin_dir = wiring.bin_dir().display().to_string();
    wiring.follow(&world.run(&["kubelet-config", "--bin-dir", &bin_dir], String::new()).stdout);
    let tokens = |name| json!({"quay": cluster.service_account(name, "quay", 600)});
    let image = "registry.example.com/team/app";
    let job = wiring.job(&[
        pull_of(image, ACCOUNT, &tokens(ACCOUNT)),
        pull_of(image, ACCOUNT, &tokens(ACCOUNT)),
        pull_of(image, "team/other", &tokens("team/other")),
    ]);
    let Answer { refused, logins } = Answer::of(world.keyring(job));
    assert_eq!(refused, None);
    let [first, second, other] = &logins[..] else { panic!("three pulls: {logins:?}") };
    let [[user, password]] = &first[..] else { panic!("one login: {first:?}") };
    assert!(user == "team+puller" && claims(password).is_some(), "{user}");
    assert_eq!((first, other.len()), (second, 0), "the answer is kept for the account, and for no other");
}
