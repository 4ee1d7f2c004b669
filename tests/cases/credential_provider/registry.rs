//! The answers against a registry that checks passwords.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use tripod_tests::registry::{Registry, get};

use super::{Node, PASSWORD, USER, login};

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const MANIFEST: &str = "/v2/team/app/manifests/latest";

/// A node with credentials for `registry`.
fn node_for(registry: &Registry, password: &str) -> Node {
    let node = Node::new();
    let host = registry.address().to_string();
    node.write("config.yaml", &node.entry(&host, ""));
    node.write(
        "auth.json",
        &json!({"auths": {(format!("http://{host}/v2/")): login(USER, password)}}).to_string(),
    );
    node
}

/// User and password that the program gives out for an image of `registry`.
fn credentials(node: &Node, registry: &Registry) -> (String, String) {
    let host = registry.address().to_string();
    let document = node.ask(&format!("{host}/team/app")).document();
    let field = |name: &str| document["auth"][&host][name].as_str().expect("a string").to_owned();
    (field("username"), field("password"))
}

#[test]
fn a_registry_accepts_the_credentials_that_the_program_returns() {
    let registry = Registry::start(ANYWHERE, USER, PASSWORD).unwrap();
    let (user, password) = credentials(&node_for(&registry, PASSWORD), &registry);
    assert_eq!(get(registry.address(), "/v2/", None).unwrap(), 401);
    assert_eq!(get(registry.address(), "/v2/", Some((&user, &password))).unwrap(), 200);
    assert_eq!(get(registry.address(), MANIFEST, Some((&user, &password))).unwrap(), 200);
    let seen: Vec<_> =
        registry.exchanges().into_iter().map(|e| (e.path.clone(), e.user.clone(), e.accepted())).collect();
    let user = Some(USER.to_owned());
    assert_eq!(
        seen,
        [("/v2/".into(), None, false), ("/v2/".into(), user.clone(), true), (MANIFEST.into(), user, true)]
    );
}

#[test]
fn a_registry_refuses_an_outdated_password() {
    let registry = Registry::start(ANYWHERE, USER, PASSWORD).unwrap();
    let (user, password) = credentials(&node_for(&registry, "last year's"), &registry);
    assert_eq!(get(registry.address(), MANIFEST, Some((&user, &password))).unwrap(), 401);
    assert_eq!(get(registry.address(), MANIFEST, Some((PASSWORD, USER))).unwrap(), 401);
    assert_eq!(get(registry.address(), "/v2/team/app/nothing", Some((USER, PASSWORD))).unwrap(), 404);
    assert!(registry.exchanges().iter().all(|exchange| !exchange.accepted()));
}

#[test]
fn a_registry_outlives_clients_that_speak_something_else() {
    use std::io::Write;
    let registry = Registry::start(ANYWHERE, USER, PASSWORD).unwrap();
    for noise in [&b"\xff\xfe\r\n\r\n"[..], b"", &[b'a'; 64 << 10]] {
        // The registry may have hung up by the time the last of it is written.
        let _hung_up = std::net::TcpStream::connect(registry.address()).unwrap().write_all(noise);
    }
    assert_eq!(get(registry.address(), "/v2/", Some((USER, PASSWORD))).unwrap(), 200);
    let address = registry.address();
    drop(registry);
    assert!(get(address, "/v2/", None).is_err(), "a dropped registry no longer answers");
}
