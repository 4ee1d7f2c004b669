//! Whose keys a node finds, and what is said where it finds none.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tripod_tests::farend::aws::{Imds, Sts};
use tripod_tests::farend::{Mood, Server};

use super::{
    AUDIENCE, EXTERNAL_ID, IMAGE, NODE_ROLE, OTHER_ROLE, POD_ROLE, REGION, Site, TASK_ROLE, TASK_TOKEN, USER,
    assert_no_secret, session,
};

/// Half a day less the margin, and the seconds of this test.
fn assert_kept(kept: u64) {
    assert!((42_800..=42_900).contains(&kept), "{kept}");
}

#[test]
fn keys_of_the_environment() {
    let site = Site::new().with_key();
    site.configure(&[]);
    let (principal, kept) = site.ask(IMAGE).principal();
    assert_eq!(principal, USER);
    assert_kept(kept);
    assert_eq!(site.imds.seen().len(), 0);
    let temporary =
        site.accounts.issue(&session(NODE_ROLE, "i-1"), SystemTime::now() + Duration::from_hours(1));
    let site = site
        .set("AWS_ACCESS_KEY_ID", &temporary.id)
        .set("AWS_SECRET_ACCESS_KEY", &temporary.secret)
        .set("AWS_SESSION_TOKEN", &temporary.token.unwrap());
    assert_eq!(site.ask(IMAGE).principal().0, session(NODE_ROLE, "i-1"));
}

#[test]
fn a_token_file_is_worth_a_role() {
    let site = Site::new();
    let file = site.file("token", &format!("{}\n", site.token("team/puller", AUDIENCE)));
    let site = site.set("AWS_WEB_IDENTITY_TOKEN_FILE", &file).set("AWS_ROLE_ARN", POD_ROLE);
    site.configure(&[]);
    assert_eq!(site.ask(IMAGE).principal().0, session(POD_ROLE, "tripod"));
    let site = site.set("AWS_ROLE_SESSION_NAME", "node 7");
    assert_eq!(site.ask(IMAGE).principal().0, session(POD_ROLE, "node-7"));
}

#[test]
fn an_endpoint_for_containers_gives_a_role() {
    let site = Site::new();
    let url = format!("{}/v2/keys", site.task.url());
    let site = site
        .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
        .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", TASK_TOKEN);
    site.configure(&[]);
    assert_eq!(site.ask(IMAGE).principal().0, session(TASK_ROLE, "task"));
    let file = site.file("authorization", &format!("{TASK_TOKEN}\n"));
    let site = site
        .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another")
        .set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file);
    site.configure(&["identity: [container]", "region: us-east-1"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(TASK_ROLE, "task"));
}

#[test]
fn an_endpoint_elsewhere_is_not_asked_without_https() {
    for host in ["10.0.0.1", "metadata.example.com", "169.254.169.254"] {
        let site = Site::new()
            .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{host}/keys"))
            .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", TASK_TOKEN);
        site.configure(&[]);
        site.ask(IMAGE).assert_says(&["AWS_CONTAINER_CREDENTIALS_FULL_URI points to", host]);
        site.assert_silence();
    }
}

#[test]
fn an_instance_has_a_role() {
    let site = Site::new();
    site.configure(&[]);
    let (principal, kept) = site.ask(IMAGE).principal();
    assert_eq!(principal, session(NODE_ROLE, "i-0123456789"));
    assert_kept(kept);
    let v6 = Server::start_on("[::1]:0".parse().unwrap(), Imds::new(&site.accounts, REGION, Some(NODE_ROLE)));
    let site = site.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &v6.url());
    assert_eq!(site.ask(IMAGE).principal().0, session(NODE_ROLE, "i-0123456789"));
    assert_eq!(v6.count("PUT /latest/api/token"), 1);
}

#[test]
fn a_lost_answer_of_the_metadata_service_hints_at_the_hop_limit() {
    let site = Site::new();
    site.configure(&[]);
    site.imds.mood_of("PUT /latest/api/token", Mood::Silent);
    site.ask(IMAGE).assert_says(&["step=imds-token err=timeout", "hop limit of 1"]);
    assert_eq!(site.imds.count("GET"), 0, "version 1 is not asked");
}

#[test]
fn the_metadata_service_can_refuse_the_role_in_a_good_answer() {
    let site = Site::new();
    site.configure(&[]);
    let route = "GET /latest/meta-data/iam/security-credentials/node";
    site.imds.mood_of(route, Mood::Garbage(r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"hunter2"}"#));
    site.ask(IMAGE).assert_says(&["step=imds-keys", "role node", "code=AssumeRoleUnauthorizedAccess"]);
}

#[test]
fn a_role_is_taken_on_with_any_of_them() {
    let site = Site::new().with_key();
    let (arn, id) = (format!("assumeRole: {OTHER_ROLE}"), format!("externalId: {EXTERNAL_ID}"));
    site.configure(&[&arn, &id]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
    site.configure(&[&arn]);
    site.ask(IMAGE).assert_says(&["step=sts-assume-role", "code=AccessDenied", "external id"]);
    site.configure(&[&arn, &id, "identity: [imds]"]);
    site.ask(IMAGE).assert_says(&["step=sts-assume-role", "code=AccessDenied"]);
    site.trust(NODE_ROLE);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
}

#[test]
fn keys_without_effect_are_refused() {
    let site = Site::new();
    let (listed, role) = ("which is not listed", format!("serviceAccountRole: {POD_ROLE}"));
    for (line, said) in [
        ("externalId: x", "externalId: \"x\": it goes with assumeRole"),
        (role.as_str(), "it goes with identity \"service-account\", which is not listed"),
        ("roleAnnotations: [a]", "it goes with identity \"service-account\", which is not listed"),
        ("identity: [imds]\n    profile: x", listed),
    ] {
        site.configure(&[line]);
        site.ask(IMAGE).assert_says(&["config.yaml", said]);
    }
    site.assert_silence();
}

#[test]
fn a_role_is_taken_on_in_the_region_that_is_named() {
    let site = Site::new().with_key();
    let sts = Server::start(Sts::new(&site.accounts, "us-east-1"));
    let site = site.set("AWS_ENDPOINT_URL_STS", &sts.url());
    let (arn, id) = (format!("assumeRole: {OTHER_ROLE}"), format!("externalId: {EXTERNAL_ID}"));
    site.configure(&[&arn, &id]);
    site.ask(IMAGE).assert_says(&["step=sts-assume-role", "code=SignatureDoesNotMatch"]);
    site.configure(&[&arn, &id, "region: us-east-1"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
}

#[test]
fn an_identity_that_fails_is_not_replaced_by_the_next() {
    let site = Site::new().set("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token").set("AWS_ROLE_ARN", POD_ROLE);
    site.configure(&[]);
    site.ask(IMAGE).assert_says(&["cannot open \"/nowhere/token\""]);
    let file = site.file("token", &site.token("team/stranger", AUDIENCE));
    let site = site.set("AWS_WEB_IDENTITY_TOKEN_FILE", &file);
    site.ask(IMAGE).assert_says(&["step=sts-web-identity", "status=403 code=AccessDenied"]);
    let mut site = site.set("AWS_ROLE_ARN", "node");
    site.ask(IMAGE).assert_says(&["AWS_ROLE_ARN of the environment is no role"]);
    site.env.remove("AWS_ROLE_ARN");
    site.ask(IMAGE).assert_says(&["AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not"]);
    let half = Site::new().set("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    half.configure(&[]);
    half.ask(IMAGE).assert_says(&["AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"]);
    assert_eq!(site.imds.seen().len() + half.imds.seen().len(), 0);
}

#[test]
fn who_has_no_identity_is_told_where_it_was_looked_for() {
    let site = Site::new();
    let bare = Server::start(Imds::new(&site.accounts, REGION, None));
    let site = site.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &bare.url());
    site.configure(&[]);
    site.ask(IMAGE).assert_says(&[
        "there is no identity to ask with: looked for environment (AWS_ACCESS_KEY_ID is not set)",
        "web-identity (AWS_WEB_IDENTITY_TOKEN_FILE is not set)",
        "profile (no profile \"default\" in any file: neither AWS_CONFIG_FILE nor HOME is set)",
        "container (neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "imds (the instance has no role)",
    ]);
    let site = site.set("AWS_EC2_METADATA_DISABLED", "true");
    site.configure(&["identity: [environment, imds]"]);
    let told = site.explain(IMAGE);
    assert!(told.contains("looked for environment (") && !told.contains("for a token"), "{told}");
    site.configure(&["identity: [imds]", "onMissingIdentity: anonymous"]);
    let ran = site.ask(IMAGE);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["auth"], &document["cacheDuration"]), (&json!({}), &json!("0s")), "{ran:?}");
    assert_eq!(site.ecr.seen().len(), 0);
}

#[test]
fn explain_tells_each_step_and_asks_nobody() {
    let site = Site::new();
    let (arn, id) = (format!("assumeRole: {OTHER_ROLE}"), format!("externalId: {EXTERNAL_ID}"));
    site.configure(&[&arn, &id]);
    let told = site.explain(IMAGE);
    let (sts, ecr, imds) = (site.sts.url(), site.ecr.url(), site.imds.url());
    for said in [
        "pass over identity environment: AWS_ACCESS_KEY_ID is not set".to_owned(),
        format!("imds: ask {imds}/ for a session, the instance's role and its keys"),
        format!("imds: ask {sts}/ for role {OTHER_ROLE} as \"tripod\", with these keys"),
        format!("ask {ecr}/ for a token"),
    ] {
        assert!(told.contains(&said), "no {said:?} in {told}");
    }
    let site = site.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/keys?id=7");
    let told = site.explain(IMAGE);
    assert!(told.contains("container: ask http://169.254.170.2/v2/keys?id=7 for keys"), "{told}");
    let site = site.with_key();
    let told = site.explain(IMAGE);
    assert!(told.contains("environment: use access key AKIAIOSFODNN7EXAMPLE of the environment"), "{told}");
    assert!(!told.contains("imds"), "what comes after is not reached: {told}");
    site.assert_silence();
}

#[test]
fn doctor_tries_each_identity() {
    let site = Site::new().with_key();
    site.configure(&["identity: [environment, web-identity, imds]"]);
    site.imds.mood(Mood::Failing(500));
    let ran = site.run(&["doctor", IMAGE], "");
    for said in
        ["environment for", "web-identity for", "there is none", "step=imds-token err=status status=500"]
    {
        assert!(ran.stdout.contains(said), "no {said:?} in {ran:?}");
    }
    assert_no_secret(&ran.stdout);
    assert_eq!(site.ecr.count("POST /"), 1);
}
