//! Golden documents of every protocol version. The requests are what Kubernetes 1.37.1 sends.

use serde_json::json;

use super::{IMAGE, Node, PASSWORD, USER, golden, login};

#[test]
fn every_version_is_answered_in_kind() {
    let node = Node::new();
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let ran = node.run(&[], golden(&format!("{version}.request.json")).as_bytes());
        assert!(ran.success && ran.stderr.is_empty(), "{ran:?}");
        assert_eq!(ran.stdout, golden(&format!("{version}.response.json")), "{version}");
    }
}

#[test]
fn a_service_account_token_in_the_request_is_accepted_and_not_repeated() {
    let node = Node::new();
    let ran = node.run(&[], golden("v1-service-account.request.json").as_bytes());
    assert_eq!(ran.stdout, golden("v1.response.json"));
    let ran = node.run(&[], golden("v1-service-account.request.json").replace("/v1\"", "/v9\"").as_bytes());
    assert!(ran.complaint().contains("v9") && !ran.stderr.contains("hunter2"), "{ran:?}");
}

#[test]
fn any_password_survives_the_way_through_json() {
    for password in ["", "\"\\\u{7f}\u{1}\n\t", "p\u{e4}ss:w\u{f6}rd \u{1f511}", " leading and trailing "] {
        let node = Node::new();
        node.write(
            "auth.json",
            &json!({"auths": {"registry.example.com:5000": login(USER, password)}}).to_string(),
        );
        let auth = &node.ask(IMAGE).document()["auth"]["registry.example.com:5000"];
        assert_eq!(auth, &json!({"username": USER, "password": password}));
    }
}

#[test]
fn the_next_request_sees_a_changed_password_and_a_changed_configuration() {
    let node = Node::new();
    assert_eq!(node.ask(IMAGE).document()["auth"]["registry.example.com:5000"]["password"], PASSWORD);
    node.write("auth.json", &json!({"auths": {"*.example.com:5000": login(USER, "rotated")}}).to_string());
    assert_eq!(node.ask(IMAGE).document()["auth"]["registry.example.com:5000"]["password"], "rotated");
    node.write("config.yaml", &node.entry("other.example.com:5000", ""));
    assert!(node.ask(IMAGE).complaint().starts_with("no entry of "));
}

#[test]
fn a_file_behind_a_link_is_read_as_a_mounted_config_map_needs_it() {
    let node = Node::new();
    std::fs::create_dir(node.path("..data")).unwrap();
    std::fs::rename(node.path("auth.json"), node.path("..data/auth.json")).unwrap();
    std::os::unix::fs::symlink("..data/auth.json", node.path("auth.json")).unwrap();
    assert_eq!(node.ask(IMAGE).document()["auth"]["registry.example.com:5000"]["password"], PASSWORD);
}

#[test]
fn an_answer_for_part_of_a_registry_is_not_offered_for_the_rest_of_it() {
    let node = Node::new();
    assert_eq!(node.ask(IMAGE).document()["cacheKeyType"], "Registry");
    let auths = json!({"auths": {"registry.example.com:5000/team/": login(USER, PASSWORD)}});
    node.write("auth.json", &auths.to_string());
    let document = node.ask(IMAGE).document();
    assert_eq!(document["cacheKeyType"], "Image");
    assert_eq!(
        document["auth"],
        json!({"registry.example.com:5000/team/": {"username": USER, "password": PASSWORD}})
    );
    // The same where the configuration divides the registry.
    let node = Node::new();
    node.write("config.yaml", &node.entry("registry.example.com:5000/team/", ""));
    assert_eq!(node.ask(IMAGE).document()["cacheKeyType"], "Image");
}

#[test]
fn on_error_anonymous_answers_without_credentials_and_lets_nobody_keep_that() {
    let node = Node::new();
    node.write("config.yaml", &node.entry("registry.example.com:5000", "    onError: anonymous\n"));
    std::fs::remove_file(node.path("auth.json")).unwrap();
    let ran = node.ask(IMAGE);
    assert!(ran.success, "{ran:?}");
    let expected = json!({
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Image",
        "cacheDuration": "0s",
        "auth": {},
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap(), expected);
    assert!(ran.stderr.contains("No such file or directory"), "a person who looks is told why: {ran:?}");
}
