//! Amazon's own client, botocore, as judge: of host names, and of signatures.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tripod_credential_provider::aws::partition::{Partition, Variant};
use tripod_credential_provider::aws::{Keys, Request, Service, endpoint, signed};
use tripod_credential_provider::http::{Client, Network, Url};
use tripod_credential_provider::secret::{Secret, SecretBytes};
use tripod_credential_provider::step::Deadline;
use tripod_tests::farend::moto::Python;
use tripod_tests::farend::{Collector, Server};

use super::{REGION, SECRET};

#[test]
fn every_region_of_every_partition_has_botocores_host_names() {
    let Some(python) = Python::installed() else { return };
    let all = python.ask("endpoints.py", &Value::Null);
    let mut compared = 0;
    for (partition, known) in all.as_object().expect("partitions") {
        for (region, services) in known["regions"].as_object().expect("regions") {
            assert_eq!(Partition::of(region).name, partition, "{region}");
            for (name, fips, dual_stack) in [
                ("plain", false, false),
                ("fips", true, false),
                ("dualstack", false, true),
                ("both", true, true),
            ] {
                let variant = Variant { fips, dual_stack };
                let ours = [("ecr", endpoint::ecr(region, variant)), ("sts", endpoint::sts(region, variant))];
                for (service, ours) in ours {
                    let Some(host) = services[service][name].as_str() else { continue };
                    assert_eq!(ours, format!("https://{host}"), "{service} of {region}, {name}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 200, "only {compared} names");
}

/// A request and who signs it.
struct Signing {
    service: &'static str,
    content_type: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
    secret: String,
    token: Option<String>,
    path: &'static str,
}

fn signings() -> Vec<Signing> {
    let target = ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken");
    let json = "application/x-amz-json-1.1";
    let form = "application/x-www-form-urlencoded";
    let secrets = [SECRET.to_owned(), "a".to_owned(), "+/=&?%41 é".to_owned(), "x".repeat(300)];
    let tokens = [None, Some("IQoJb3JpZ2luX2Vj+/==".to_owned()), Some("y".repeat(4000))];
    let bodies = [
        "{}",
        "",
        "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx&ExternalId=a%20b",
        "\u{fc} \u{1F433}",
    ];
    let headers = [
        ("ecr", json, Some(target), "/"),
        ("ecr-public", json, Some(("x-amz-target", "  two   spaces  ")), "/"),
        ("sts", form, None, "/"),
        ("sts", "text/plain; charset=utf-8", None, "/a/b"),
    ];
    let mut all = Vec::new();
    for (index, secret) in secrets.iter().enumerate() {
        for token in &tokens {
            for (turn, body) in bodies.iter().enumerate() {
                let (service, content_type, header, path) = headers[(index + turn) % headers.len()];
                let (body, secret, token) = (body.as_bytes().to_vec(), secret.clone(), token.clone());
                all.push(Signing { service, content_type, header, body, secret, token, path });
            }
        }
    }
    all
}

impl Signing {
    /// What botocore is asked to sign.
    fn call(&self, url: &str, time: &str) -> Value {
        let mut headers = json!({"Content-Type": self.content_type});
        if let Some((name, value)) = self.header {
            headers[name] = value.into();
        }
        json!({
            "id": "AKIAIOSFODNN7EXAMPLE", "secret": self.secret, "token": self.token, "time": time,
            "service": self.service, "region": REGION, "method": "POST", "url": format!("{url}{}", self.path),
            "headers": headers, "body": String::from_utf8(self.body.clone()).unwrap(),
        })
    }

    /// Sends it as the program does; what arrives is with `server`.
    fn send(self, server: &Server, now: SystemTime) {
        let url = Url::parse(&format!("{}{}", server.url(), self.path)).unwrap();
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: Secret::new(self.secret),
            session_token: self.token.map(Secret::new),
            expires: None,
            origin: String::new(),
        };
        let body = SecretBytes::new(self.body);
        let request =
            Request { step: "test", url, content_type: self.content_type, header: self.header, body };
        let service = Service { name: self.service, region: REGION };
        let call = signed(request, &keys, service, now).unwrap();
        Client::new(&Network::default(), Deadline::from_now(Duration::from_secs(10))).call(call).unwrap();
    }
}

#[test]
fn every_signature_is_botocores() {
    let Some(python) = Python::installed() else { return };
    let server = Server::start(Collector);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_248_000);
    let calls: Vec<_> = signings().iter().map(|one| one.call(&server.url(), "20261121T080000Z")).collect();
    let expected = python.ask("sign.py", &calls.clone().into());
    for one in signings() {
        one.send(&server, now);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), calls.len());
    for ((seen, expected), call) in seen.iter().zip(expected.as_array().unwrap()).zip(&calls) {
        let sent = seen.request.header("authorization").expect("a signature");
        assert_eq!(sent, expected["Authorization"], "{call}");
        assert_eq!(seen.request.header("x-amz-security-token"), expected["X-Amz-Security-Token"].as_str());
    }
}
