//! Which registries are AWS's, and what belongs to each of them.

use serde_json::{Value, json};
use tripod_tests::farend::aws::Ecr;
use tripod_tests::farend::{Mood, Server};

use super::{
    IMAGE, MATCH, NODE_ROLE, OTHER_ROLE, PUBLIC, PUBLIC_IMAGE, REGION, Site, USER, assert_no_secret, session,
};

#[test]
fn what_only_looks_like_a_registry_of_aws_is_sent_nothing() {
    let site = Site::new().with_key();
    site.configure_all(&[
        &[
            "match: [\"*.example\", \"*.*.*.*.*.*.example\", \"*.*.*.*.*\", \"*.*.*.*.*.*\", \"*.*.*.*.*.*:443\"]",
            "provider: ecr",
        ],
        &["match: [\"*.*.*.*.*.*.*\", \"*.*.*\"]", "provider: ecr"],
    ]);
    for registry in [
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com.example",
        "11112222333.dkr.ecr.eu-west-1.amazonaws.com",
        "11112222333x.dkr.ecr.eu-west-1.amazonaws.com",
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com:443",
        "111122223333.dkr.ecr.cn-north-1.amazonaws.com",
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com.cn",
        "111122223333.dkr-ecr.eu-west-1.amazonaws.com",
        "x.111122223333.dkr.ecr.eu-west-1.amazonaws.com",
        "public.ecr.aws",
    ] {
        site.ask(&format!("{registry}/team/app"))
            .assert_says(&[registry, "is no registry of ecr: nothing was asked"]);
    }
    site.assert_silence();
}

#[test]
fn each_kind_of_name_has_an_api_of_its_own() {
    let mut site = Site::new().with_key();
    for name in ["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_ECR_PUBLIC"] {
        site.env.remove(name);
    }
    let hosts = "match: [\"*.*.*.*.*.*\", \"*.*.*.*.*\", \"*.*.*.*.*.*.*\"]";
    site.configure_all(&[&[hosts, "provider: ecr", &format!("assumeRole: {OTHER_ROLE}")], &PUBLIC]);
    for (registry, sts, ecr) in [
        (
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com",
            "sts.eu-west-1.amazonaws.com",
            "api.ecr.eu-west-1.amazonaws.com",
        ),
        ("111122223333.dkr-ecr.eu-west-1.on.aws", "sts.eu-west-1.api.aws", "ecr.eu-west-1.api.aws"),
        (
            "111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "sts.us-gov-west-1.amazonaws.com",
            "api.ecr-fips.us-gov-west-1.amazonaws.com",
        ),
        (
            "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "sts.cn-north-1.amazonaws.com.cn",
            "api.ecr.cn-north-1.amazonaws.com.cn",
        ),
        (
            "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            "sts.eusc-de-east-1.amazonaws.eu",
            "api.ecr.eusc-de-east-1.amazonaws.eu",
        ),
    ] {
        let told = site.explain(&format!("{registry}/app"));
        assert!(told.contains(&format!("ask https://{sts}/ for role")), "{told}");
        assert!(told.contains(&format!("ask https://{ecr}/ for a token")), "{told}");
    }
    let told = site.explain(PUBLIC_IMAGE);
    assert!(told.contains("ask https://api.ecr-public.us-east-1.amazonaws.com/ for a token"), "{told}");
}

#[test]
fn the_public_registry_has_a_token_of_its_own() {
    let site = Site::new().with_key();
    site.configure_all(&[&PUBLIC]);
    assert_eq!(site.ask(PUBLIC_IMAGE).principal().0, USER);
    assert_eq!((site.public.seen().len(), site.ecr.seen().len()), (1, 0));
}

#[test]
fn public_images_are_pulled_without_credentials_where_the_role_lacks_the_right() {
    let site = Site::new().with_key();
    site.accounts.forbid(USER, "sts:GetServiceBearerToken");
    site.configure_all(&[&PUBLIC]);
    site.ask(PUBLIC_IMAGE).assert_says(&["step=ecr-public-token", "code=AccessDeniedException"]);
    site.configure_all(&[&[PUBLIC[0], PUBLIC[1], "onError: anonymous"]]);
    let ran = site.ask(PUBLIC_IMAGE);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["auth"], &document["cacheDuration"]), (&json!({}), &json!("0s")));
    assert_no_secret(&ran.stderr);
}

#[test]
fn each_registry_may_have_an_identity_of_its_own() {
    let site = Site::new().with_key();
    let arn = format!("assumeRole: {OTHER_ROLE}");
    site.configure_all(&[
        &[
            "match: [444455556666.dkr.ecr.eu-west-1.amazonaws.com]",
            "provider: ecr",
            &arn,
            "externalId: tripod-7",
        ],
        &["match: [777788889999.dkr.ecr.eu-west-1.amazonaws.com]", "provider: ecr", "identity: [imds]"],
        &[MATCH, "provider: ecr"],
    ]);
    let principal = |account: &str| site.ask(&IMAGE.replace("111122223333", account)).principal().0;
    assert_eq!(principal("444455556666"), session(OTHER_ROLE, "tripod"));
    assert_eq!(principal("777788889999"), session(NODE_ROLE, "i-0123456789"));
    assert_eq!(principal("111122223333"), USER);
    assert_eq!(site.ecr.seen().len(), 3);
}

#[test]
fn a_mirror_of_an_upstream_registry_is_given_the_account_s_credentials() {
    let site = Site::new().with_key();
    let mirrored = "mirrorOf: 111122223333.dkr.ecr.eu-west-1.amazonaws.com";
    site.configure_all(&[&["match: [docker.io]", "provider: ecr", mirrored]]);
    let document = site.ask("docker.io/library/nginx").document();
    assert_eq!(document["auth"]["docker.io"]["username"], "AWS");
}

#[test]
fn the_region_is_the_registrys_whatever_else_is_set() {
    let site = Site::new().with_key().set("AWS_REGION", "us-east-1").set("AWS_DEFAULT_REGION", "us-east-2");
    site.configure(&["region: sa-east-1"]);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
    let other = Server::start(Ecr::new(&site.accounts, "ap-southeast-3"));
    let site = site.set("AWS_ENDPOINT_URL_ECR", &other.url());
    site.ask(IMAGE).assert_says(&["step=ecr-token", "code=InvalidSignatureException"]);
    assert_eq!(site.ask(&IMAGE.replace(REGION, "ap-southeast-3")).principal().0, USER);
}

#[test]
fn throttling_passes() {
    let site = Site::new().with_key();
    site.configure(&["assumeRole: arn:aws:iam::444455556666:role/shared", "externalId: tripod-7"]);
    site.ecr.mood_for_next(2, &Mood::Throttled);
    site.sts.mood_for_next(2, &Mood::Throttled);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
    assert_eq!((site.ecr.seen().len(), site.sts.seen().len()), (3, 3));
}
