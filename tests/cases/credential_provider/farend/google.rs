//! Google: metadata, the exchange of tokens, impersonation.

use serde_json::{Value, json};
use tripod_tests::farend::google::{AccessTokens, GceMetadata, GoogleSts, IamCredentials};
use tripod_tests::farend::jwt::{Expected, Issuer};
use tripod_tests::farend::{Mood, Request, Server};

use super::{answer, assert_refused, in_seconds};

const POOL: &str = "identitynamespace:project.svc.id.goog:https://cluster.example.com";
const EMAIL: &str = "puller@project.iam.gserviceaccount.com";

#[test]
fn an_instance_gives_a_token_to_those_who_know_its_header() {
    let tokens = AccessTokens::default();
    let metadata = Server::start(GceMetadata { tokens: tokens.clone(), account: EMAIL.into() });
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let get = Request::get(path).with("Metadata-Flavor", "Google");
    let answered = answer(&metadata, &get);
    assert_eq!(answered.value("metadata-flavor"), Some("Google"));
    let document = answered.document();
    let token = document["access_token"].as_str().unwrap();
    assert_eq!((&document["expires_in"], &document["token_type"]), (&json!(3600), &json!("Bearer")));
    assert_eq!(tokens.owner(token, in_seconds(0)).as_deref(), Some(EMAIL));
    assert_eq!(tokens.owner(token, in_seconds(3700)), None);
    assert_refused(&answer(&metadata, &Request::get(path)), 403, "Metadata-Flavor");
    assert_refused(&answer(&metadata, &get.clone().with("X-Forwarded-For", "10.0.0.1")), 403, "Missing");
    metadata.mood(Mood::Expired);
    assert_eq!(answer(&metadata, &get).document()["expires_in"], -60);
}

fn exchange(token: &str) -> Value {
    json!({
        "audience": POOL,
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    })
}

#[test]
fn a_clusters_token_is_exchanged_and_may_become_another_account() {
    let (tokens, cluster) = (AccessTokens::default(), Issuer::new("https://cluster.example.com"));
    let expected = Expected::service_account(&cluster, "team/puller", POOL);
    let from = expected.subject.clone();
    let sts = Server::start(GoogleSts { tokens: tokens.clone(), pool: POOL.into(), expected });
    let ask = |document: &Value| answer(&sts, &Request::json("/v1/token", document));
    let good = exchange(&cluster.service_account("team/puller", POOL, 600));
    let access = ask(&good).document()["access_token"].as_str().unwrap().to_owned();
    for (field, value, word) in [
        ("audience", json!("other"), "invalid_target"),
        ("grant_type", Value::Null, "unsupported_grant_type"),
        ("requested_token_type", json!("x"), "invalid_request"),
        ("subject_token_type", json!("x"), "invalid_request"),
        ("scope", json!("x"), "invalid_scope"),
        ("subject_token", json!("x"), "invalid_grant"),
        ("subject_token", json!(cluster.service_account("team/other", POOL, 600)), "subject"),
        ("subject_token", json!(cluster.service_account("team/puller", "x", 600)), "audience"),
        ("subject_token", json!(cluster.service_account("team/puller", POOL, -1)), "expired"),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        assert_refused(&ask(&wrong), 400, word);
    }

    let iam = Server::start(IamCredentials { tokens: tokens.clone(), from, to: EMAIL.into() });
    let path = format!("/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken");
    let scope = json!({"scope": ["https://www.googleapis.com/auth/cloud-platform"]});
    let become_other = |token: &str, document: &Value| {
        answer(&iam, &Request::json(&path, document).with("Authorization", &format!("Bearer {token}")))
    };
    let document = become_other(&access, &scope).document();
    let other = document["accessToken"].as_str().unwrap();
    assert_eq!(tokens.owner(other, in_seconds(0)).as_deref(), Some(EMAIL));
    assert!(document["expireTime"].as_str().unwrap().ends_with('Z'));
    assert_refused(&become_other("x", &scope), 401, "UNAUTHENTICATED");
    assert_refused(&become_other(other, &scope), 403, "PERMISSION_DENIED");
    assert_refused(&become_other(&access, &json!({})), 400, "INVALID_ARGUMENT");
}
