//! Moto answers what the real services answer, and botocore signs as our far ends expect.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tripod_tests::farend::aws::{Accounts, Ecr, Key, sigv4};
use tripod_tests::farend::client::ask_at;
use tripod_tests::farend::moto::Python;
use tripod_tests::farend::{Request, Response, Server};

use super::{ROLE, answer, in_seconds};

fn at(address: SocketAddr, request: &Request) -> Response {
    ask_at(address, request).expect("an answer")
}

#[test]
fn moto_plays_metadata_roles_and_registries() {
    let Some(moto) = Python::installed().map(|python| python.moto()) else { return };
    let put = Request::new("PUT", "/latest/api/token").with("X-aws-ec2-metadata-token-ttl-seconds", "60");
    let token = at(moto.address(), &put).body_text();
    let get = |path| at(moto.address(), &Request::get(path).with("X-aws-ec2-metadata-token", &token));
    let role = get("/latest/meta-data/iam/security-credentials/").body_text();
    let credentials = get(&format!("/latest/meta-data/iam/security-credentials/{role}")).document();
    assert!(credentials["SecretAccessKey"].is_string() && credentials["Token"].is_string(), "{credentials}");

    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "tripod"),
        ("WebIdentityToken", "a.b.c"),
    ];
    let assumed = at(moto.address(), &Request::form("/", &fields).with("Host", "sts.amazonaws.com"));
    assert!(assumed.body_text().contains("<SessionToken>"), "{assumed:?}");

    let key = Key::of_user("AKIAIOSFODNN7EXAMPLE", "secret", "");
    let signed = sigv4::sign(password_request(), &key, ("eu-west-1", "ecr"), in_seconds(0));
    let data = at(moto.address(), &signed).document()["authorizationData"][0].clone();
    assert!(data["authorizationToken"].is_string(), "{data}");
    assert_eq!(data["expiresAt"], 1_420_070_400, "moto's passwords are always past");
}

fn password_request() -> Request {
    Request { body: b"{}".to_vec(), ..Request::new("POST", "/") }
        .with("Host", "api.ecr.eu-west-1.amazonaws.com")
        .with("Content-Type", "application/x-amz-json-1.1")
        .with("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
}

#[test]
fn botocores_signature_is_ours() {
    let Some(python) = Python::installed() else { return };
    let accounts = Accounts::default();
    let key = accounts.issue(ROLE, in_seconds(60));
    let now = sigv4::format_time(in_seconds(0));
    let headers = json!({
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
    });
    let signed = python.ask(
        "sign.py",
        &json!({
            "id": key.id, "secret": key.secret, "token": key.token, "time": now, "service": "ecr",
            "region": "eu-west-1", "method": "POST", "url": "https://api.ecr.eu-west-1.amazonaws.com/",
            "headers": headers, "body": "{}",
        }),
    );
    let request = Request { body: b"{}".to_vec(), ..Request::new("POST", "/") };
    let request = request.with("Host", "api.ecr.eu-west-1.amazonaws.com");
    let signed = signed.as_object().expect("headers").iter();
    let request = signed.fold(request, |all, (name, value)| all.with(name, value.as_str().expect("text")));
    let ecr = Server::start(Ecr::new(&accounts, "eu-west-1"));
    let answered = answer(&ecr, &request);
    assert_eq!(answered.status, 200, "{}", answered.body_text());
}

#[test]
fn botocore_knows_every_partition() {
    let Some(python) = Python::installed() else { return };
    let all = python.ask("endpoints.py", &Value::Null);
    let host = |partition: &str, region: &str, service: &str, variant: &str| {
        all[partition]["regions"][region][service][variant].as_str().map(str::to_owned)
    };
    let expected = |text: &str| Some(text.to_owned());
    assert_eq!(host("aws", "eu-west-1", "ecr", "plain"), expected("api.ecr.eu-west-1.amazonaws.com"));
    assert_eq!(host("aws", "us-east-1", "ecr", "fips"), expected("api.ecr-fips.us-east-1.amazonaws.com"));
    assert_eq!(host("aws", "eu-west-1", "sts", "plain"), expected("sts.eu-west-1.amazonaws.com"));
    assert_eq!(host("aws-cn", "cn-north-1", "ecr", "plain"), expected("api.ecr.cn-north-1.amazonaws.com.cn"));
    assert!(all.as_object().expect("partitions").len() >= 7, "{all}");
}
