//! Azure: metadata and the directory lead to a registry's token.

use tripod_tests::farend::azure::{Aad, Acr, AzureImds, Challenge, Tenant};
use tripod_tests::farend::jwt::{self, Expected, Issuer};
use tripod_tests::farend::{Mood, Request, Response, Server, epoch};

use super::{answer, assert_refused, in_seconds};

const LOGIN: &str = "team.azurecr.io";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const RESOURCE: &str = "https://containerregistry.azure.net";

fn token_in(response: &Response, name: &str) -> String {
    assert_eq!(response.status, 200, "{}", response.body_text());
    response.document()[name].as_str().expect("a token").to_owned()
}

fn exchange(token: &str, service: &str, tenant: &str) -> Request {
    let fields = [("service", service), ("tenant", tenant), ("access_token", token)];
    Request::form("/oauth2/exchange", &[&[("grant_type", "access_token")][..], &fields].concat())
}

#[test]
fn an_instances_token_is_worth_one_of_the_registry() {
    let tenant = Tenant::new("tenant-1");
    let imds = Server::start(AzureImds::new(&tenant, true, &[("client-1", "/subscriptions/1")]));
    let ask = |query: &str| {
        let get = Request::get(&format!("/metadata/identity/oauth2/token?{query}"));
        answer(&imds, &get.with("Metadata", "true"))
    };
    let version = format!("api-version=2018-02-01&resource={RESOURCE}");
    let document = ask(&version).document();
    assert!(document["expires_in"].is_string() && document["expires_on"].is_string(), "{document}");
    for query in ["&client_id=client-1", "&msi_res_id=%2Fsubscriptions%2F1"] {
        assert_eq!(ask(&(version.clone() + query)).document()["client_id"], "client-1");
    }
    assert_refused(&ask(&(version.clone() + "&client_id=other")), 400, "Identity not found");
    assert_refused(&ask("api-version=2018-02-01"), 400, "resource");
    assert_refused(&ask(&format!("resource={RESOURCE}")), 400, "api-version");
    let bare = Request::get(&format!("/metadata/identity/oauth2/token?{version}"));
    assert_refused(&answer(&imds, &bare), 400, "metadata header");

    let acr = Server::start(Acr::new(&tenant, LOGIN, Challenge::Quoted));
    let token = token_in(&ask(&version), "access_token");
    let refresh = token_in(&answer(&acr, &exchange(&token, LOGIN, "tenant-1")), "refresh_token");
    let end = jwt::claims(&refresh).unwrap()["exp"].as_u64().unwrap();
    assert!(end > epoch(in_seconds(10_000)));
    let management = ask("api-version=2018-02-01&resource=https://management.azure.com");
    let management = token_in(&management, "access_token");
    imds.mood(Mood::Expired);
    let past = token_in(&ask(&version), "access_token");
    for (request, status, word) in [
        (exchange(&management, LOGIN, "tenant-1"), 401, "audience"),
        (exchange(&token, LOGIN, "tenant-2"), 401, "tenant"),
        (exchange(&token, "other.azurecr.io", "tenant-1"), 400, "service"),
        (exchange(&past, LOGIN, "tenant-1"), 401, "expired"),
        (exchange("x", LOGIN, "tenant-1"), 401, "invalid"),
        (Request::form("/oauth2/exchange", &[("access_token", &token)]), 400, "grant_type"),
    ] {
        assert_refused(&answer(&acr, &request), status, word);
    }
}

#[test]
fn a_registry_challenges_in_several_hands() {
    let tenant = Tenant::new("tenant-1");
    let elsewhere = Challenge::Elsewhere("attacker.example.com".into());
    for (challenge, expected) in [
        (Challenge::Quoted, "realm=\"https://team.azurecr.io/oauth2/token\",service=\"team.azurecr.io\""),
        (Challenge::Unquoted, "realm=https://team.azurecr.io/oauth2/token,service=team.azurecr.io"),
        (elsewhere, "realm=\"https://attacker.example.com/oauth2/token\",service=\"team.azurecr.io\""),
    ] {
        let acr = Server::start(Acr::new(&tenant, LOGIN, challenge));
        let answered = answer(&acr, &Request::get("/v2/"));
        assert_eq!(
            (answered.status, answered.value("www-authenticate")),
            (401, Some(&*format!("Bearer {expected}")))
        );
    }
}

#[test]
fn the_directory_believes_a_secret_or_a_trusted_token() {
    let (tenant, cluster) = (Tenant::new("tenant-1"), Issuer::new("https://cluster.example.com"));
    let trusted = Expected::service_account(&cluster, "team/puller", AUDIENCE);
    let aad = Server::start(Aad::new(&tenant, "client-1", "s+cret", Some(trusted)));
    let ask = |path: &str, more: &[(&str, &str)]| {
        let scope = format!("{RESOURCE}/.default");
        let fields = [("grant_type", "client_credentials"), ("scope", scope.as_str())];
        answer(&aad, &Request::form(path, &[&fields[..], more].concat()))
    };
    let path = "/tenant-1/oauth2/v2.0/token";
    let asserted = |token: &str| {
        let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        ask(path, &[("client_id", "client-1"), kind, ("client_assertion", token)])
    };
    let by_secret = ask(path, &[("client_id", "client-1"), ("client_secret", "s+cret")]);
    let by_token = asserted(&cluster.service_account("team/puller", AUDIENCE, 600));
    let acr = Server::start(Acr::new(&tenant, LOGIN, Challenge::Quoted));
    for answered in [by_secret, by_token] {
        let token = token_in(&answered, "access_token");
        assert_eq!(answer(&acr, &exchange(&token, LOGIN, "tenant-1")).status, 200);
    }
    let wrong = ask(path, &[("client_id", "client-1"), ("client_secret", "x")]);
    assert_refused(&wrong, 401, "AADSTS7000215");
    assert_refused(&ask(path, &[("client_id", "x"), ("client_secret", "s+cret")]), 400, "AADSTS700016");
    assert_refused(&ask(path, &[("client_id", "client-1")]), 401, "AADSTS7000216");
    assert_refused(&ask("/other/oauth2/v2.0/token", &[]), 400, "AADSTS90002");
    for (account, audience, seconds) in
        [("team/other", AUDIENCE, 600), ("team/puller", "x", 600), ("team/puller", AUDIENCE, -1)]
    {
        let refused = asserted(&cluster.service_account(account, audience, seconds));
        assert_refused(&refused, 401, "AADSTS700213");
    }
}
