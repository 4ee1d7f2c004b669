//! Each service of AWS in each kind of trouble: one line names the step, in time, without a secret.

use std::time::{Duration, Instant};

use serde_json::json;
use tripod_tests::farend::{Collector, Mood, NOT_JSON, Server, WRONG_JSON};

use super::{
    AGENT_AUDIENCE, ANNOTATION, AUDIENCE, EXTERNAL_ID, IMAGE, OTHER_ROLE, POD_ROLE, PUBLIC, PUBLIC_IMAGE,
    Site, TASK_TOKEN, annotated,
};

/// Three seconds are the program's; the rest is this machine's, which is busy.
const IN_TIME: Duration = Duration::from_secs(6);

/// A kind of trouble, and what is said of it.
fn troubles(attacker: &Server) -> Vec<(Mood, &'static str)> {
    vec![
        (Mood::Throttled, "err=status"),
        (Mood::Denied, "err=status status=4"),
        (Mood::Failing(500), "err=status status=500"),
        (Mood::Slow(Duration::from_millis(200)), "err=timeout"),
        (Mood::Silent, "err=timeout"),
        (Mood::HungUp, "err=closed"),
        (Mood::Truncated, "err=closed"),
        (Mood::Garbage(NOT_JSON), "err=answer"),
        (Mood::Garbage(WRONG_JSON), "err=answer"),
        (Mood::Oversized, "err=too-large"),
        (Mood::Redirecting(attacker.url()), "err=redirect"),
    ]
}

/// A site where `service` is asked in any case, one for each trouble, all at once.
fn trouble(
    step: &str,
    site: impl Fn() -> Site + Sync,
    service: impl Fn(&Site) -> &Server + Sync,
    image: &str,
) {
    let attacker = Server::start(Collector);
    std::thread::scope(|scope| {
        for (mood, said) in troubles(&attacker) {
            let (site, service) = (&site, &service);
            scope.spawn(move || {
                let site = site();
                service(&site).mood(mood.clone());
                let token = site.token("team/puller", audience(step));
                let start = Instant::now();
                let ran = site.ask_for(image, &token, &annotated(POD_ROLE));
                assert!(start.elapsed() < IN_TIME, "{mood:?} takes {:?}", start.elapsed());
                ran.assert_says(&[&format!("step={step}"), said]);
                assert!(!ran.stderr.contains(&token), "{mood:?}: {ran:?}");
                assert!(service(&site).seen().len() <= 3, "{mood:?} is asked too often");
            });
        }
    });
    assert_eq!(attacker.seen().len(), 0);
}

fn audience(step: &str) -> &'static str {
    if step == "pod-identity" { AGENT_AUDIENCE } else { AUDIENCE }
}

#[test]
fn private_registries_in_trouble() {
    let site = || {
        let site = Site::new().with_key();
        site.configure(&[]);
        site
    };
    trouble("ecr-token", site, |site| &site.ecr, IMAGE);
}

#[test]
fn the_public_registry_in_trouble() {
    let site = || {
        let site = Site::new().with_key();
        site.configure_all(&[&PUBLIC]);
        site
    };
    trouble("ecr-public-token", site, |site| &site.public, PUBLIC_IMAGE);
}

#[test]
fn roles_for_tokens_in_trouble() {
    let site = || {
        let site = Site::new();
        site.configure(&["identity: [service-account]"]);
        site
    };
    trouble("sts-web-identity", site, |site| &site.sts, IMAGE);
}

#[test]
fn roles_for_keys_in_trouble() {
    let site = || {
        let site = Site::new().with_key();
        site.configure(&[&format!("assumeRole: {OTHER_ROLE}"), &format!("externalId: {EXTERNAL_ID}")]);
        site
    };
    trouble("sts-assume-role", site, |site| &site.sts, IMAGE);
}

#[test]
fn the_metadata_service_in_trouble() {
    let site = || {
        let site = Site::new();
        site.configure(&[]);
        site
    };
    trouble("imds-", site, |site| &site.imds, IMAGE);
}

#[test]
fn an_endpoint_for_containers_in_trouble() {
    let site = || {
        let site = Site::new();
        let url = format!("{}/v2/keys", site.task.url());
        let site = site.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
        site.configure(&[]);
        site.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", TASK_TOKEN)
    };
    trouble("container-credentials", site, |site| &site.task, IMAGE);
}

#[test]
fn the_pod_identity_agent_in_trouble() {
    let site = || {
        let site = Site::new();
        let url = format!("{}/v1/credentials", site.agent.url());
        site.configure(&["identity: [pod-identity]"]);
        site.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
    };
    trouble("pod-identity", site, |site| &site.agent, IMAGE);
}

#[test]
fn nobody_listens() {
    let gone = Server::start(Collector).url();
    for (name, step) in [
        ("AWS_ENDPOINT_URL_ECR", "ecr-token"),
        ("AWS_ENDPOINT_URL_STS", "sts-web-identity"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "imds-token"),
    ] {
        let identity = if step == "imds-token" { "imds" } else { "service-account" };
        let site = Site::new().set(name, &gone);
        site.configure(&[&format!("identity: [{identity}]")]);
        let ran = site.ask_for(IMAGE, &site.token("team/puller", AUDIENCE), &annotated(POD_ROLE));
        ran.assert_says(&[&format!("step={step} err=connect"), "Connection refused"]);
    }
}

#[test]
fn keys_that_are_past_are_refused_by_the_registry() {
    let site = Site::new();
    site.configure(&["identity: [service-account, imds]"]);
    site.imds.mood(Mood::Expired);
    site.ask(IMAGE).assert_says(&["step=ecr-token", "code=ExpiredTokenException"]);
    site.sts.mood(Mood::Expired);
    let token = site.token("team/puller", AUDIENCE);
    let ran = site.ask_for(IMAGE, &token, &annotated(POD_ROLE));
    ran.assert_says(&["step=ecr-token", "code=ExpiredTokenException"]);
    let site = site.with_key();
    site.ecr.set_clock(3600);
    site.configure(&[]);
    site.ask(IMAGE).assert_says(&["code=InvalidSignatureException", "the node's clock has to be right"]);
}

#[test]
fn secrets_are_not_sent_unencrypted_to_another_machine() {
    let site = Site::new().with_key().set("AWS_ENDPOINT_URL_ECR", "http://10.0.0.1");
    site.configure(&[]);
    site.ask(IMAGE).assert_says(&["step=ecr-token err=plain-http"]);
    let site = Site::new().set("AWS_ENDPOINT_URL_STS", "http://10.0.0.1");
    site.configure(&["identity: [service-account]"]);
    let ran = site.ask_for(IMAGE, &site.token("team/puller", AUDIENCE), &json!({ANNOTATION: POD_ROLE}));
    ran.assert_says(&["step=sts-web-identity err=plain-http"]);
}
