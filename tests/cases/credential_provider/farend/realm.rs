//! The token service of a registry.

use serde_json::json;
use tripod_tests::farend::jwt;
use tripod_tests::farend::realm::Realm;
use tripod_tests::farend::{Request, Server};

use super::{answer, assert_refused};

#[test]
fn a_token_is_for_one_repository_and_one_user() {
    let realm = Server::start(Realm::new("issuer", "registry", "puller", "hunter2"));
    let ask =
        |target: &str, password: &str| answer(&realm, &Request::get(target).with_basic("puller", password));
    let good = "/token?service=registry&scope=repository%3Ateam%2Fapp%3Apull%2Cpush";
    let claims = jwt::claims(ask(good, "hunter2").document()["token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["access"], json!([{"type": "repository", "name": "team/app", "actions": ["pull"]}]));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("issuer"), &json!("registry")));
    assert_refused(&ask(good, "hunter3"), 401, "password");
    assert_refused(&answer(&realm, &Request::get(good)), 401, "password");
    assert_refused(&ask("/token?service=other", "hunter2"), 400, "service");
    assert_refused(&ask("/token?service=registry&scope=x", "hunter2"), 400, "scope");
    assert_refused(&answer(&realm, &Request::form("/token", &[])), 405, "GET");
}
