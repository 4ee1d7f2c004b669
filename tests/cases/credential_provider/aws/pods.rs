//! Pods that pull in the name of their own service accounts.

use serde_json::json;
use tripod_tests::farend::Mood;

use super::{
    AGENT_AUDIENCE, AUDIENCE, EXTERNAL_ID, IMAGE, NODE_ROLE, OTHER_ROLE, POD_ROLE, Site, annotated, session,
};

const OF_PODS: &str = "identity: [service-account]";

#[test]
fn the_role_of_a_service_account_stands_in_an_annotation_or_the_configuration() {
    let site = Site::new();
    site.configure(&[OF_PODS]);
    let token = site.token("team/puller", AUDIENCE);
    let named = session(POD_ROLE, "team-puller");
    assert_eq!(site.ask_for(IMAGE, &token, &annotated(POD_ROLE)).principal().0, named);
    let older = json!({"eks.amazonaws.com/role-arn": POD_ROLE});
    assert_eq!(site.ask_for(IMAGE, &token, &older).principal().0, named, "the second key is read too");
    site.configure(&[OF_PODS, "roleAnnotations: [example.com/role]"]);
    assert_eq!(site.ask_for(IMAGE, &token, &json!({"example.com/role": POD_ROLE})).principal().0, named);
    site.configure(&[OF_PODS, &format!("serviceAccountRole: {POD_ROLE}")]);
    assert_eq!(site.ask_for(IMAGE, &token, &json!({})).principal().0, named);
}

#[test]
fn static_pods_and_accounts_without_a_role_are_told_why_or_use_the_nodes_identity() {
    let site = Site::new();
    site.configure(&[OF_PODS]);
    let token = site.token("team/puller", AUDIENCE);
    let words = ["service account team/puller has no annotation eks.amazonaws.com/ecr-role-arn or"];
    site.ask_for(IMAGE, &token, &json!({})).assert_says(&words);
    site.ask(IMAGE)
        .assert_says(&["service-account (the kubelet passed no service account token: the pod is static"]);
    site.assert_silence();
    site.configure(&["identity: [service-account, imds]"]);
    let of_node = session(NODE_ROLE, "i-0123456789");
    assert_eq!(site.ask(IMAGE).principal().0, of_node);
    assert_eq!(site.ask_for(IMAGE, &token, &json!({})).principal().0, of_node);
    assert_eq!(
        site.ask_for(IMAGE, &token, &annotated(POD_ROLE)).principal().0,
        session(POD_ROLE, "team-puller")
    );
}

#[test]
fn a_pod_whose_role_is_refused_is_not_given_the_nodes() {
    let site = Site::new();
    site.configure(&["identity: [service-account, imds]"]);
    let stranger = site.token("team/stranger", AUDIENCE);
    let ran = site.ask_for(IMAGE, &stranger, &annotated(POD_ROLE));
    ran.assert_says(&["step=sts-web-identity", "code=AccessDenied", "the role must trust"]);
    assert!(!ran.stderr.contains(&stranger));
    let wrong = site.token("team/puller", "another");
    site.ask_for(IMAGE, &wrong, &annotated(POD_ROLE)).assert_says(&["code=InvalidIdentityToken"]);
    let past = site.cluster.service_account("team/puller", AUDIENCE, -60);
    site.ask_for(IMAGE, &past, &annotated(POD_ROLE)).assert_says(&["code=ExpiredTokenException"]);
    site.ask_for(IMAGE, &wrong, &annotated("puller")).assert_says(&[
        "eks.amazonaws.com/ecr-role-arn of service account team/puller is no role: write a role such as",
    ]);
    site.ask_for(IMAGE, "hunter2", &annotated(POD_ROLE))
        .assert_says(&["the service account's token is no JWT"]);
    assert_eq!(site.imds.seen().len() + site.ecr.seen().len(), 0);
}

#[test]
fn the_pod_identity_agent_is_shown_the_pods_token() {
    let site = Site::new();
    let url = format!("{}/v1/credentials", site.agent.url());
    let site = site.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
    site.configure(&["identity: [pod-identity]"]);
    let token = site.token("team/puller", AGENT_AUDIENCE);
    assert_eq!(site.ask_for(IMAGE, &token, &json!({})).principal().0, session(POD_ROLE, "task"));
    let stranger = site.token("team/stranger", AGENT_AUDIENCE);
    let said = "pod-identity (the agent knows no role of this service account)";
    site.ask_for(IMAGE, &stranger, &json!({})).assert_says(&[said]);
    let wrong = site.token("team/puller", AUDIENCE);
    site.ask_for(IMAGE, &wrong, &json!({})).assert_says(&[
        "step=pod-identity",
        "code=InvalidTokenException",
        AGENT_AUDIENCE,
    ]);
    site.ask(IMAGE).assert_says(&["pod-identity (the kubelet passed no service account token"]);
    assert_eq!(site.sts.seen().len() + site.task.seen().len(), 0);
}

#[test]
fn an_endpoint_elsewhere_gives_the_nodes_keys_and_sees_no_pods_token() {
    let site = Site::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://keys.example.com/node");
    let token = site.file("token", &site.token("team/puller", AGENT_AUDIENCE));
    let explain = |identity: &str| {
        site.configure(&[&format!("identity: [{identity}]")]);
        site.run(&["explain", IMAGE, "--token", &token], "").stdout
    };
    let told = explain("pod-identity");
    assert!(told.contains("ask http://169.254.170.23/v1/credentials for keys, with the token of"), "{told}");
    assert!(!told.contains("keys.example.com"), "{told}");
    let told = explain("container");
    assert!(told.contains("ask https://keys.example.com/node for keys"), "{told}");
    assert!(!told.contains("with the token of"), "{told}");
}

#[test]
fn the_pod_identity_agent_has_an_address_for_each_family() {
    let site = Site::new();
    site.configure(&["identity: [pod-identity]"]);
    let token = site.file("token", &site.token("team/puller", AGENT_AUDIENCE));
    let explain = |site: &Site| site.run(&["explain", IMAGE, "--token", &token], "").stdout;
    let told = explain(&site);
    assert!(told.contains("ask http://169.254.170.23/v1/credentials for keys"), "{told}");
    let site = site.set("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6");
    let told = explain(&site);
    assert!(told.contains("ask http://[fd00:ec2::23]/v1/credentials for keys"), "{told}");
}

#[test]
fn a_role_of_another_account_is_taken_on_with_the_pods() {
    let site = Site::new();
    site.trust(POD_ROLE);
    let (arn, id) = (format!("assumeRole: {OTHER_ROLE}"), format!("externalId: {EXTERNAL_ID}"));
    site.configure(&[OF_PODS, &arn, &id]);
    let token = site.token("team/puller", AUDIENCE);
    let principal = site.ask_for(IMAGE, &token, &annotated(POD_ROLE)).principal().0;
    assert_eq!(principal, session(OTHER_ROLE, "team-puller"), "its name goes with it");
    site.sts.mood_for_next(1, &Mood::Throttled);
    assert_eq!(site.sts.seen().len(), 2);
}
