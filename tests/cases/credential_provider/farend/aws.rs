//! AWS: registries, roles and metadata.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tripod_tests::farend::aws::{
    Accounts, ContainerCredentials, Ecr, EcrPublic, Imds, Key, Sts, Trust, sigv4,
};
use tripod_tests::farend::jwt::Issuer;
use tripod_tests::farend::{Mood, Request, Server, epoch};

use super::{ROLE, altered, answer, assert_refused, in_seconds};

const USER: &str = "arn:aws:iam::111122223333:user/ci";
const AUDIENCE: &str = "sts.amazonaws.com";
const SUBJECT: &str = "system:serviceaccount:team:puller";

fn user(accounts: &Accounts) -> Key {
    accounts.add(Key::of_user("AKIAIOSFODNN7EXAMPLE", "secret/+key", USER))
}

fn token_request(target: &str) -> Request {
    let body = b"{}".to_vec();
    Request { body, ..Request::new("POST", "/") }
        .with("Host", "api.ecr.eu-west-1.amazonaws.com")
        .with("Content-Type", "application/x-amz-json-1.1")
        .with("X-Amz-Target", target)
}

fn private() -> Request {
    token_request("AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
}

fn text_between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("both marks").0
}

/// The temporary key in an answer of STS.
fn key_in(xml: &str) -> Key {
    let field = |name: &str| text_between(xml, &format!("<{name}>"), &format!("</{name}>")).to_owned();
    let token = Some(field("SessionToken"));
    Key { token, ..Key::of_user(&field("AccessKeyId"), &field("SecretAccessKey"), &field("Arn")) }
}

/// The first of the signatures that AWS publishes for those who write a signer.
#[test]
fn the_published_signature_is_ours() {
    let request =
        Request::get("/").with("Host", "example.amazonaws.com").with("X-Amz-Date", "20150830T123600Z");
    let scope = sigv4::Scope { date: "20150830", region: "us-east-1", service: "service" };
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let signature = sigv4::signature(&request, &["host", "x-amz-date"], secret, "20150830T123600Z", scope);
    assert_eq!(signature, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

#[test]
fn a_signed_request_is_given_a_password_for_half_a_day() {
    let accounts = Accounts::default();
    let key = user(&accounts);
    let ecr = Server::start(Ecr::new(&accounts, "eu-west-1"));
    let signed = sigv4::sign(private(), &key, ("eu-west-1", "ecr"), SystemTime::now());
    let document = answer(&ecr, &signed).document();
    let data = &document["authorizationData"][0];
    let login = BASE64_STANDARD.decode(data["authorizationToken"].as_str().unwrap()).unwrap();
    assert!(String::from_utf8(login).unwrap().starts_with("AWS:password-"));
    let left = data["expiresAt"].as_f64().unwrap() - epoch(SystemTime::now()) as f64;
    assert!((43_190.0..43_202.0).contains(&left), "{data}");
    assert_eq!(data["proxyEndpoint"], "https://111122223333.dkr.ecr.eu-west-1.amazonaws.com");
    ecr.mood(Mood::Expired);
    let past = answer(&ecr, &signed).document()["authorizationData"][0]["expiresAt"].as_f64().unwrap();
    assert!(past < epoch(SystemTime::now()) as f64);
    ecr.mood(Mood::Throttled);
    assert_refused(&answer(&ecr, &signed), 400, "ThrottlingException");
}

#[test]
fn a_wrong_signature_is_refused_for_what_is_wrong_with_it() {
    let accounts = Accounts::default();
    let key = user(&accounts);
    let ecr = Server::start(Ecr::new(&accounts, "eu-west-1"));
    let sign = |key: &Key, place, now| sigv4::sign(private(), key, place, now);
    let (here, now) = (("eu-west-1", "ecr"), SystemTime::now());
    let good = sign(&key, here, now);
    let other = |secret: &str, id: &str| Key { secret: secret.into(), id: id.into(), ..key.clone() };
    let expired = accounts.issue(ROLE, now - Duration::from_secs(1));
    let temporary = accounts.issue(ROLE, in_seconds(60));
    let tokenless = Key { token: None, ..temporary.clone() };
    let longer = Request { body: b"{ }".to_vec(), ..good.clone() };
    for (request, word) in [
        (private(), "MissingAuthenticationTokenException"),
        (altered(&good, "Authorization", Some("Basic x")), "IncompleteSignatureException"),
        (altered(&good, "Host", Some("elsewhere.example.com")), "InvalidSignatureException"),
        (longer, "InvalidSignatureException"),
        (good.clone().with("X-Amz-More", "x"), "must be a 'SignedHeader'"),
        (sign(&key, ("us-east-1", "ecr"), now), "Credential should be scoped to"),
        (sign(&key, ("eu-west-1", "sts"), now), "Credential should be scoped to"),
        (sign(&other("another", &key.id), here, now), "InvalidSignatureException"),
        (sign(&other(&key.secret, "AKIANOBODY"), here, now), "UnrecognizedClientException"),
        (sign(&key, here, now - Duration::from_secs(330)), "InvalidSignatureException"),
        (sign(&key, here, now + Duration::from_secs(330)), "InvalidSignatureException"),
        (sign(&expired, here, now), "ExpiredTokenException"),
        (sign(&tokenless, here, now), "UnrecognizedClientException"),
        (altered(&good, "X-Amz-Target", Some("Else")), "UnknownOperationException"),
        (altered(&good, "Content-Type", Some("application/json")), "UnknownOperationException"),
    ] {
        assert_refused(&answer(&ecr, &request), 400, word);
    }
    assert_eq!(answer(&ecr, &sign(&temporary, here, now)).status, 200);
    ecr.set_clock(400);
    assert_refused(&answer(&ecr, &good), 400, "InvalidSignatureException");
    ecr.set_clock(0);
    accounts.forbid(USER, "ecr:GetAuthorizationToken");
    assert_refused(&answer(&ecr, &good), 400, "AccessDeniedException");
}

#[test]
fn the_public_registry_answers_with_an_object() {
    let accounts = Accounts::default();
    let key = user(&accounts);
    let public = Server::start(EcrPublic::new(&accounts));
    let request = token_request("SpencerFrontendService.GetAuthorizationToken");
    let sign = |region| sigv4::sign(request.clone(), &key, (region, "ecr-public"), SystemTime::now());
    assert!(answer(&public, &sign("us-east-1")).document()["authorizationData"]["expiresAt"].is_number());
    assert_refused(&answer(&public, &sign("eu-west-1")), 400, "InvalidSignatureException");
    accounts.forbid(USER, "sts:GetServiceBearerToken");
    assert_refused(&answer(&public, &sign("us-east-1")), 400, "sts:GetServiceBearerToken");
}

fn web_identity(token: &str, session: &str) -> Request {
    Request::form(
        "/",
        &[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", ROLE),
            ("RoleSessionName", session),
            ("WebIdentityToken", token),
        ],
    )
}

#[test]
fn a_token_of_the_trusted_service_account_is_worth_a_role() {
    let accounts = Accounts::default();
    let cluster = Issuer::new("https://cluster.example.com");
    let (audience, subject) = (AUDIENCE.to_owned(), SUBJECT.to_owned());
    accounts.add_role(ROLE, Trust::WebIdentity { issuer: cluster.clone(), subject, audience });
    let sts = Server::start(Sts::new(&accounts, "eu-west-1"));
    let good = cluster.service_account("team/puller", AUDIENCE, 600);
    let answered = answer(&sts, &web_identity(&good, "tripod"));
    assert_eq!(answered.status, 200);
    let key = key_in(&answered.body_text());
    assert!(answered.body_text().contains(".250Z</Expiration>"));
    assert_eq!(key.principal, "arn:aws:sts::111122223333:assumed-role/puller/tripod");
    let ecr = Server::start(Ecr::new(&accounts, "eu-west-1"));
    let signed = sigv4::sign(private(), &key, ("eu-west-1", "ecr"), SystemTime::now());
    assert_eq!(answer(&ecr, &signed).status, 200);

    let stranger = Issuer::new("https://cluster.example.com");
    for (token, session, status, word) in [
        (cluster.service_account("team/puller", "other", 600), "tripod", 400, "InvalidIdentityToken"),
        (cluster.service_account("team/other", AUDIENCE, 600), "tripod", 403, "AccessDenied"),
        (cluster.service_account("team/puller", AUDIENCE, -1), "tripod", 400, "ExpiredTokenException"),
        (stranger.service_account("team/puller", AUDIENCE, 600), "tripod", 400, "InvalidIdentityToken"),
        ("x".to_owned(), "tripod", 400, "InvalidIdentityToken"),
        (String::new(), "tripod", 400, "ValidationError"),
        (good.clone(), "a b", 400, "ValidationError"),
    ] {
        assert_refused(&answer(&sts, &web_identity(&token, session)), status, word);
    }
    let another_role = web_identity(&good, "tripod");
    let body = String::from_utf8(another_role.body.clone()).unwrap().replace("puller&", "other&");
    assert_refused(&answer(&sts, &Request { body: body.into(), ..another_role }), 403, "AccessDenied");
    sts.mood(Mood::Throttled);
    assert_refused(&answer(&sts, &web_identity(&good, "tripod")), 400, "<Code>Throttling</Code>");
    assert_refused(&answer(&sts, &Request::get("/")), 400, "Throttling");
}

#[test]
fn a_role_may_assume_another_that_trusts_it() {
    let accounts = Accounts::default();
    let target = "arn:aws:iam::444455556666:role/shared";
    let external_id = Some("tripod-7".to_owned());
    accounts.add_role(target, Trust::Principal { arn: ROLE.into(), external_id });
    let sts = Server::start(Sts::new(&accounts, "eu-west-1"));
    let session = accounts.issue("arn:aws:sts::111122223333:assumed-role/puller/i-1", in_seconds(60));
    let assume = |key: &Key, external_id: &str, service| {
        let fields = [("Action", "AssumeRole"), ("Version", "2011-06-15"), ("RoleArn", target)];
        let more = [("RoleSessionName", "tripod"), ("ExternalId", external_id)];
        let request = Request::form("/", &[&fields[..], &more].concat()).with("Host", "sts.example.com");
        answer(&sts, &sigv4::sign(request, key, ("eu-west-1", service), SystemTime::now()))
    };
    let good = assume(&session, "tripod-7", "sts");
    assert_eq!(key_in(&good.body_text()).principal, "arn:aws:sts::444455556666:assumed-role/shared/tripod");
    assert_refused(&assume(&session, "tripod-8", "sts"), 403, "AccessDenied");
    assert_refused(&assume(&user(&accounts), "tripod-7", "sts"), 403, "AccessDenied");
    assert_refused(&assume(&session, "tripod-7", "ecr"), 403, "SignatureDoesNotMatch");
    let expired = accounts.issue(&session.principal, SystemTime::now());
    assert_refused(&assume(&expired, "tripod-7", "sts"), 403, "ExpiredToken");
}

#[test]
fn an_instance_tells_its_role_only_in_a_session() {
    const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
    const TOKEN: &str = "X-aws-ec2-metadata-token";
    let accounts = Accounts::default();
    let imds = Server::start(Imds::new(&accounts, "eu-west-1", Some(ROLE)));
    let put = Request::new("PUT", "/latest/api/token");
    assert_eq!(answer(&imds, &put).status, 400);
    assert_eq!(answer(&imds, &put.clone().with(TTL, "21601")).status, 400);
    let token = answer(&imds, &put.with(TTL, "60")).body_text();
    let get = |path: &str| answer(&imds, &Request::get(path).with(TOKEN, &token));
    let roles = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(get(roles).body_text(), "puller");
    assert_eq!(answer(&imds, &Request::get(roles)).status, 401);
    assert_eq!(answer(&imds, &Request::get(roles).with(TOKEN, "AQ==")).status, 401);
    assert_eq!(get(&format!("{roles}other")).status, 404);
    let document = get(&format!("{roles}puller")).document();
    assert_eq!(document["Code"], "Success");
    let text = |name: &str| document[name].as_str().expect("text").to_owned();
    let key = Key {
        token: Some(text("Token")),
        ..Key::of_user(&text("AccessKeyId"), &text("SecretAccessKey"), "")
    };
    let ecr = Server::start(Ecr::new(&accounts, "eu-west-1"));
    let signed = sigv4::sign(private(), &key, ("eu-west-1", "ecr"), SystemTime::now());
    assert_eq!(answer(&ecr, &signed).status, 200);
    assert_eq!(get("/latest/meta-data/placement/region").body_text(), "eu-west-1");
    assert_eq!(get("/latest/meta-data/services/partition").body_text(), "aws");
    imds.set_clock(61);
    assert_eq!(get(roles).status, 401);
    let bare = Server::start_on("[::1]:0".parse().unwrap(), Imds::new(&accounts, "eu-west-1", None));
    let token = answer(&bare, &Request::new("PUT", "/latest/api/token").with(TTL, "60")).body_text();
    assert_eq!(answer(&bare, &Request::get(roles).with(TOKEN, &token)).status, 404);
}

#[test]
fn a_container_is_given_its_role_for_its_token() {
    let accounts = Accounts::default();
    let task = Server::start(ContainerCredentials::of_task(&accounts, ROLE, "/v2/credentials/1", "tok en"));
    let get = Request::get("/v2/credentials/1");
    let document = answer(&task, &get.clone().with("Authorization", "tok en")).document();
    assert_eq!(document["RoleArn"], ROLE);
    assert_refused(&answer(&task, &get), 400, "InvalidToken");
    assert_refused(&answer(&task, &Request::get("/")), 404, "NotFound");

    let cluster = Issuer::new("https://cluster.example.com");
    let agent = Server::start(ContainerCredentials::of_pod(&accounts, ROLE, &cluster, SUBJECT));
    let ask = |token: &str| answer(&agent, &Request::get("/v1/credentials").with("Authorization", token));
    let token = |account, audience, seconds| cluster.service_account(account, audience, seconds);
    assert_eq!(ask(&token("team/puller", "pods.eks.amazonaws.com", 60)).status, 200);
    assert_refused(&ask(&token("team/other", "pods.eks.amazonaws.com", 60)), 400, "ResourceNotFound");
    assert_refused(&ask(&token("team/puller", AUDIENCE, 60)), 400, "audience");
    assert_refused(&ask(&token("team/puller", "pods.eks.amazonaws.com", -1)), 400, "ExpiredToken");
    assert_refused(&ask("x"), 400, "InvalidToken");
}
