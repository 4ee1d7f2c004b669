//! The kubelet's side of a pull, with the real program behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tripod_tests::programs;
use tripod_tests::puller::{Account, CacheType, Login, Provider, Puller, Response, parse_duration};

use super::{IMAGE, Node, PASSWORD, USER, login};

const VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";

fn provider(node: &Node) -> Provider {
    let program = programs::program("tripod-credential-provider");
    let config = node.path("config.yaml");
    Provider::new(&program, &["registry.example.com:5000"]).args(["--config", config.to_str().unwrap()])
}

fn account(name: &str, token: &str) -> Account {
    Account {
        name: name.into(),
        uid: format!("uid of {name}"),
        token: token.into(),
        annotations: BTreeMap::new(),
    }
}

fn user() -> Login {
    Login { username: USER.into(), password: PASSWORD.into() }
}

#[test]
fn an_image_is_asked_about_once_and_remembered_as_long_as_the_answer_says() {
    let node = Node::new();
    let puller = Puller::new([provider(&node)]);
    assert_eq!(puller.credentials(IMAGE, None), [user()]);
    assert_eq!(puller.failures(), [""; 0]);
    assert_eq!(puller.credentials("elsewhere.example.com/app", None), []);
    assert_eq!(puller.execs(), 1);
    // A file that anybody may change at any time is asked about each time.
    assert_eq!(puller.credentials(IMAGE, None), [user()]);
    let remembered = node.ask(IMAGE).document()["cacheDuration"] != "0s";
    assert_eq!(puller.execs(), if remembered { 1 } else { 2 });
}

#[test]
fn a_failure_leaves_the_pull_without_credentials() {
    let node = Node::new();
    node.write("auth.json", "{");
    let puller = Puller::new([provider(&node)]);
    assert_eq!(puller.credentials(IMAGE, None), []);
    assert!(puller.failures()[0].contains("tripod-credential-provider: "), "{:?}", puller.failures());
}

#[test]
fn entries_are_tried_in_order_and_longer_keys_first() {
    let (one, other) = (Node::new(), Node::new());
    let auths = json!({"auths": {"registry.example.com:5000/team/": login("longer", "x")}});
    other.write("auth.json", &auths.to_string());
    let puller = Puller::new([provider(&one), provider(&other), provider(&one)]);
    let users: Vec<_> = puller.credentials(IMAGE, None).into_iter().map(|login| login.username).collect();
    assert_eq!(users, ["longer", USER, USER]);
}

#[test]
fn pods_at_once_share_a_run_only_where_image_and_token_are_the_same() {
    let node = Node::new();
    let pull_at_once = |puller: &Puller, pods: &[Option<Account>]| {
        std::thread::scope(|scope| {
            for pod in pods {
                scope.spawn(|| assert_eq!(puller.credentials(IMAGE, pod.as_ref()), [user()]));
            }
        });
        puller.execs()
    };
    let puller = Puller::new([provider(&node)]);
    assert!(pull_at_once(&puller, &vec![None; 20]) < 20);
    let puller = Puller::new([provider(&node).with_tokens(CacheType::Token, true)]);
    let pods: Vec<_> = (0..10).map(|pod| Some(account("team/app", &format!("token {pod}")))).collect();
    assert_eq!(pull_at_once(&puller, &pods), 10);
    // A pod that runs as nobody does not reach a plugin that requires a ServiceAccount.
    assert_eq!(puller.credentials(IMAGE, None), []);
}

#[test]
fn a_token_is_no_password_for_all_pods_of_an_account() {
    let node = Node::new();
    let puller = Puller::new([provider(&node).with_tokens(CacheType::ServiceAccount, false)]);
    assert_eq!(puller.credentials(IMAGE, Some(&account("team/app", PASSWORD))), []);
    assert_eq!(puller.credentials(IMAGE, Some(&account("team/app", "another"))), [user()]);
    assert!(puller.failures()[0].contains("service account token"));
}

#[test]
fn a_plugin_that_does_not_end_is_killed() {
    let mut sleeper = Provider::new("/usr/bin/sleep".as_ref(), &["*.example.com"]).args(["60"]);
    sleeper.timeout = Duration::from_millis(50);
    let puller = Puller::new([sleeper]);
    assert_eq!(puller.credentials("registry.example.com/app", None), []);
    assert_eq!(puller.failures(), ["context deadline exceeded"]);
}

#[test]
fn an_answer_is_read_strictly() {
    let good = json!({
        "kind": "CredentialProviderResponse", "apiVersion": VERSION, "cacheKeyType": "Registry",
        "cacheDuration": "1h0m0s", "auth": {"a": {"username": "u", "password": "p"}},
    });
    let parse = |text: &str| Response::parse(text.as_bytes(), VERSION);
    let parsed = parse(&good.to_string()).unwrap();
    assert_eq!(parsed.cache_duration, Some(Some(Duration::from_hours(1))));
    assert_eq!(parsed.auth, [("a".into(), Login { username: "u".into(), password: "p".into() })]);
    let altered = |from: &str, to: &str| parse(&good.to_string().replace(from, to)).unwrap_err();
    assert!(parse("").unwrap_err().contains("GVK"));
    assert!(altered("/v1\"", "/v1beta1\"").contains("did not match"));
    assert!(altered("\"Registry\"", "\"registry\"").contains("cacheKeyType"));
    for (from, to) in [
        ("ProviderResponse", "ProviderRequest"),
        ("\"kind\"", "\"more\":1,\"kind\""),
        ("\"kind\"", "\"kind\":\"x\",\"kind\""),
        ("{\"a\":", "{\"a\":{},\"a\":"),
        ("{\"username\"", "{\"identityToken\":\"x\",\"username\""),
        ("1h0m0s", "1 hour"),
    ] {
        assert!(altered(from, to).contains("decoding"), "{to}");
    }
}

#[test]
fn durations_are_go_s() {
    let seconds = |text| parse_duration(text).map(|some| some.map(|d| d.as_secs_f64()));
    assert_eq!(seconds("11h30m0s"), Some(Some(41_400.0)));
    assert_eq!(seconds("1.5s"), Some(Some(1.5)));
    assert_eq!(seconds("250ms"), Some(Some(0.25)));
    assert_eq!(seconds("-1s"), Some(None));
    assert_eq!([seconds("0s"), seconds("0")], [Some(Some(0.0)); 2]);
    assert_eq!([seconds(""), seconds("5"), seconds("1d"), seconds("s")], [None; 4]);
}
