//! Quay, JFrog, Cloudsmith, Vault and whatever gives a password for a token.

use serde_json::{Value, json};
use tripod_tests::farend::exchange::{Cloudsmith, JFrog, Quay, TokenToPassword, Vault};
use tripod_tests::farend::jwt::{self, Expected, Issuer};
use tripod_tests::farend::{Request, Response, Server};

use super::{answer, assert_refused};

const AUDIENCE: &str = "registry.example.com";

/// A cluster, the token that is trusted, and a fitting one.
fn trusted() -> (Issuer, Expected, String) {
    let cluster = Issuer::new("https://cluster.example.com");
    let expected = Expected::service_account(&cluster, "team/puller", AUDIENCE);
    let token = cluster.service_account("team/puller", AUDIENCE, 600);
    (cluster, expected, token)
}

/// Every token that is not the trusted one is refused for its own reason.
fn assert_strict(cluster: &Issuer, status: u16, ask: impl Fn(&str) -> Response) {
    let token = |account, audience, seconds| cluster.service_account(account, audience, seconds);
    assert_refused(&ask(&token("team/other", AUDIENCE, 600)), status, "subject");
    assert_refused(&ask(&token("team/puller", "x", 600)), status, "audience");
    assert_refused(&ask(&token("team/puller", AUDIENCE, -1)), status, "expired");
    let stranger = Issuer::new("https://cluster.example.com");
    assert_refused(&ask(&stranger.service_account("team/puller", AUDIENCE, 600)), status, "signature");
}

#[test]
fn quay_federates_a_robot() {
    let (cluster, expected, token) = trusted();
    let quay = Server::start(Quay::new("team+puller", expected));
    let path = "/oauth2/federation/robot/token";
    let ask = |robot: &str, token: &str| answer(&quay, &Request::get(path).with_basic(robot, token));
    let given = ask("team+puller", &token).document()["token"].as_str().unwrap().to_owned();
    assert!(jwt::claims(&given).unwrap()["exp"].is_u64());
    assert_refused(&ask("team+other", &token), 401, "Robot");
    assert_refused(&answer(&quay, &Request::get(path)), 401, "Basic");
    assert_strict(&cluster, 401, |token| ask("team+puller", token));
}

#[test]
fn jfrog_exchanges_a_token() {
    let (cluster, expected, token) = trusted();
    let jfrog = Server::start(JFrog::new("tripod", "puller", expected));
    let good = |token: &str| {
        json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "provider_name": "tripod",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token", "subject_token": token,
        })
    };
    let ask = |document: &Value| answer(&jfrog, &Request::json("/access/api/v1/oidc/token", document));
    let document = ask(&good(&token)).document();
    assert_eq!((&document["username"], &document["expires_in"]), (&json!("puller"), &json!(3600)));
    for (field, status) in [("grant_type", 400), ("subject_token_type", 400), ("provider_name", 404)] {
        let mut wrong = good(&token);
        wrong[field] = "x".into();
        assert_refused(&ask(&wrong), status, field);
    }
    assert_strict(&cluster, 401, |token| ask(&good(token)));
}

#[test]
fn cloudsmith_exchanges_a_token() {
    let (cluster, expected, token) = trusted();
    let cloudsmith = Server::start(Cloudsmith::new("team", "puller", expected));
    let ask = |path: &str, slug: &str, token: &str| {
        answer(&cloudsmith, &Request::json(path, &json!({"oidc_token": token, "service_slug": slug})))
    };
    let given = ask("/openid/team/", "puller", &token);
    assert!(given.status == 201 && given.document()["token"].is_string(), "{given:?}");
    assert_refused(&ask("/openid/team/", "other", &token), 422, "service_slug");
    assert_refused(&ask("/openid/other/", "puller", &token), 404, "Not found");
    assert_strict(&cluster, 401, |token| ask("/openid/team/", "puller", token));
}

#[test]
fn vault_shows_a_secret_to_whom_it_has_let_in() {
    let (cluster, expected, token) = trusted();
    let vault = Server::start(Vault {
        mount: "kubernetes".into(),
        role: "puller".into(),
        expected,
        path: "secret/data/registry".into(),
        secret: json!({"username": "u", "password": "p"}),
        own: Issuer::new("vault"),
    });
    let login = |role: &str, token: &str| {
        let document = json!({"role": role, "jwt": token});
        answer(&vault, &Request::json("/v1/auth/kubernetes/login", &document))
    };
    let auth = login("puller", &token).document()["auth"].clone();
    assert_eq!(auth["lease_duration"], 3600);
    let read = |path: &str, token: &str| answer(&vault, &Request::get(path).with("X-Vault-Token", token));
    let ours = auth["client_token"].as_str().unwrap();
    assert_eq!(read("/v1/secret/data/registry", ours).document()["data"]["data"]["password"], "p");
    assert_refused(&read("/v1/secret/data/registry", &token), 403, "permission denied");
    assert_refused(&read("/v1/secret/data/other", ours), 404, "errors");
    assert_refused(&login("other", &token), 400, "role");
    assert_strict(&cluster, 400, |token| login("puller", token));
}

#[test]
fn any_other_service_takes_a_bearer_token() {
    let (cluster, expected, token) = trusted();
    let service = TokenToPassword { path: "/exchange".into(), expected, user: "puller".into() };
    let service = Server::start(service);
    let ask = |token: &str| {
        let post = Request::new("POST", "/exchange").with("Authorization", &format!("Bearer {token}"));
        answer(&service, &post)
    };
    assert_eq!(ask(&token).document()["username"], "puller");
    assert_strict(&cluster, 401, ask);
    assert_refused(&answer(&service, &Request::get("/exchange")), 404, "not_found");
}
