//! Registries that exchange a service account's token, or take it as it is.

use serde_json::json;
use tripod_tests::farend::exchange::{Cloudsmith, JFrog, Quay, TokenToPassword, Vault};
use tripod_tests::farend::jwt::{Expected, Issuer, claims};
use tripod_tests::farend::{Collector, FarEnd, Mood, Server};

use super::world::{World, none};

const REGISTRY: &str = "registry.example.com";
const IMAGE: &str = "registry.example.com/team/app";
const MATCH: &str = "match: [registry.example.com]";
const AUDIENCE: &str = "registry";
const ACCOUNT: &str = "team/puller";

/// A world with a cluster, and one far end that trusts one of its service accounts.
struct Site {
    world: World,
    cluster: Issuer,
    server: Server,
}

impl Site {
    /// With the far end under `name`, made for the token that it is to trust.
    fn new<F: FarEnd>(name: &str, far_end: impl FnOnce(Expected) -> F) -> Option<Self> {
        let mut world = World::new()?;
        let cluster = Issuer::new("https://cluster.example");
        let server = world.serve(name, far_end(Expected::service_account(&cluster, ACCOUNT, AUDIENCE)));
        Some(Self { world, cluster, server })
    }

    fn token(&self) -> String {
        self.cluster.service_account(ACCOUNT, AUDIENCE, 600)
    }

    /// Configures `lines`, pulls twice in the name of the trusted account, and once in that of another, which must
    /// fail at `step`. User, password and cache duration of the first pull.
    fn pull(&self, lines: &[&str], step: &str) -> [String; 3] {
        self.world.configure(&[&[MATCH], lines].concat());
        let got = self.world.ask_for(IMAGE, &self.token(), &none()).credentials(REGISTRY);
        let asked = self.server.seen().len();
        self.world.ask_for(IMAGE, &self.token(), &none()).credentials(REGISTRY);
        assert_eq!(self.server.seen().len(), if got[2] == "0s" { asked * 2 } else { asked });
        let other = self.cluster.service_account("team/other", AUDIENCE, 600);
        let ran = self.world.ask_for(IMAGE, &other, &none());
        assert!(ran.complaint().contains(step) && !ran.complaint().contains(&other), "{ran:?}");
        let ran = self.world.ask(IMAGE);
        assert!(ran.complaint().contains("the kubelet passed no service account token"), "{ran:?}");
        got
    }
}

fn is_about(kept: &str, seconds: u32) -> bool {
    let kept: u32 = kept.trim_end_matches('s').parse().unwrap();
    (seconds - 100..=seconds).contains(&kept)
}

#[test]
fn quay_gives_a_token_of_a_robot() {
    let Some(site) = Site::new(REGISTRY, |expected| Quay::new("team+puller", expected)) else { return };
    let [user, password, kept] =
        site.pull(&["provider: quay", "robot: team+puller"], "step=quay-token err=status status=401");
    assert!(user == "team+puller" && claims(&password).is_some() && is_about(&kept, 3_300), "{user} {kept}");
}

#[test]
fn jfrog_tells_user_and_end_of_its_token() {
    let far_end = |expected| JFrog::new("cluster", "puller", expected);
    let Some(site) = Site::new("artifactory.example.com", far_end) else { return };
    let lines = ["provider: jfrog", "url: https://artifactory.example.com", "integration: cluster"];
    let [user, password, kept] = site.pull(&lines, "step=jfrog-token err=status status=401");
    assert!(user == "puller" && password.starts_with("jfrog-") && is_about(&kept, 3_300), "{user} {kept}");
}

#[test]
fn cloudsmith_is_asked_at_its_own_address() {
    let far_end = |expected| Cloudsmith::new("acme", "puller", expected);
    let Some(site) = Site::new("api.cloudsmith.io", far_end) else { return };
    let lines = ["provider: cloudsmith", "organisation: acme", "service: puller"];
    let [user, _, kept] = site.pull(&lines, "step=cloudsmith-token err=status status=401");
    assert!(user == "puller" && is_about(&kept, 6_900), "{user} {kept}");
}

#[test]
fn vault_keeps_the_password() {
    let far_end = |expected| Vault {
        mount: "jwt".into(),
        role: "puller".into(),
        expected,
        path: "secret/data/registries/example".into(),
        secret: json!({"username": "robot", "password": "hunter2"}),
        own: Issuer::new("vault"),
    };
    let Some(site) = Site::new("vault.example.com", far_end) else { return };
    let lines =
        ["provider: vault", "url: https://vault.example.com", "role: puller", "path: registries/example"];
    let got = site.pull(&lines, "step=vault-login err=status status=400");
    assert_eq!(got, ["robot", "hunter2", "0s"], "nobody knows when it changes");
    site.world.configure(&[&[MATCH], &lines[..3], &["path: registries/other"]].concat());
    let ran = site.world.ask_for(IMAGE, &site.token(), &none());
    assert!(ran.complaint().contains("step=vault-secret err=status status=404"), "{ran:?}");
}

#[test]
fn any_exchange_can_be_described() {
    let far_end = |expected| TokenToPassword { path: "/exchange".into(), expected, user: "robot".into() };
    let Some(site) = Site::new("tokens.example.com", far_end) else { return };
    let lines = [
        "provider: oidc",
        "url: https://tokens.example.com/exchange",
        "encoding: bearer",
        "passwordField: password",
        "expiresInField: expires_in",
    ];
    let [user, password, kept] = site.pull(&lines, "step=oidc-exchange err=status status=401");
    assert!(user == "robot" && password.starts_with("password-") && is_about(&kept, 3_300), "{user} {kept}");
    let wrong = [&[MATCH], &lines[..3], &["passwordField: data.password"]].concat();
    site.world.configure(&wrong);
    let ran = site.world.ask_for(IMAGE, &site.token(), &none());
    assert!(
        ran.complaint().contains("step=oidc-exchange err=answer: it lacks the field \"data.password\""),
        "{ran:?}"
    );
    site.world.configure(&[MATCH, "provider: oidc", "url: https://tokens.example.com/exchange"]);
    assert!(
        site.world.ask(IMAGE).complaint().contains("registries[0].request: it is missing; one of its values")
    );
}

#[test]
fn harbor_is_given_the_token_itself_and_nobody_keeps_it() {
    let Some(site) = Site::new("unused.example.com", |_| Collector) else { return };
    site.world.configure(&[MATCH, "provider: harbor"]);
    let token = site.token();
    let got = site.world.ask_for(IMAGE, &token, &none()).credentials(REGISTRY);
    assert_eq!(got, ["jwt".to_owned(), token, "0s".to_owned()]);
    assert_eq!(site.world.run(&["cache", "ls"], String::new()).stdout, "");
}

#[test]
fn a_token_for_somebody_else_is_given_to_nobody() {
    let Some(site) = Site::new(REGISTRY, |expected| Quay::new("team+puller", expected)) else { return };
    site.world.configure(&[MATCH, "provider: quay", "robot: team+puller", "tokenAudience: registry"]);
    let other = site.cluster.service_account(ACCOUNT, "other", 600);
    let ran = site.world.ask_for(IMAGE, &other, &none());
    assert!(
        ran.complaint().contains("is for \"other\", and the entry wants one for \"registry\""),
        "{ran:?}"
    );
    assert_eq!(site.server.seen().len(), 0);
    assert_eq!(site.world.ask_for(IMAGE, &site.token(), &none()).credentials(REGISTRY)[0], "team+puller");
}

#[test]
fn a_token_goes_to_no_registry_that_somebody_else_may_have_named() {
    let Some(site) = Site::new("evil.example.com", |_| Collector) else { return };
    for lines in
        [&["provider: quay", "robot: a+b"][..], &["provider: jfrog", "integration: x"], &["provider: harbor"]]
    {
        site.world.configure(&[&["match: [\"*.example.com\"]"], lines].concat());
        let ran = site.world.ask_for("evil.example.com/app", &site.token(), &none());
        assert!(ran.complaint().contains("spell each one out, without \"*\""), "{ran:?}");
    }
    let vault = ["provider: vault", "url: http://vault.example.com", "role: r", "path: p"];
    site.world.configure(&[&[MATCH], &vault[..]].concat());
    let ran = site.world.ask_for(IMAGE, &site.token(), &none());
    assert!(ran.complaint().contains("a token would go there in clear: write https://"), "{ran:?}");
    assert_eq!(site.server.seen().len(), 0);
}

#[test]
fn a_token_on_the_node_does_where_the_kubelet_tells_of_none() {
    let far_end = |expected| Quay::new("team+puller", expected);
    let Some(site) = Site::new(REGISTRY, far_end) else { return };
    let file = site.world.write("token", &site.token());
    site.world.configure(&[MATCH, "provider: quay", "robot: team+puller", &format!("tokenFile: {file}")]);
    assert_eq!(site.world.ask(IMAGE).credentials(REGISTRY)[0], "team+puller");
}

#[test]
fn each_far_end_in_trouble_is_named_and_ends_in_time() {
    let Some(mut site) = Site::new(REGISTRY, |expected| Quay::new("team+puller", expected)) else { return };
    let attacker = site.world.serve("attacker.example", Collector);
    site.world.hurry();
    site.world.configure(&[MATCH, "provider: quay", "robot: team+puller"]);
    for (mood, said) in [
        (Mood::Throttled, "err=status status=429"),
        (Mood::Failing(503), "err=status status=503"),
        (Mood::Silent, "err=timeout"),
        (Mood::Truncated, "err=closed"),
        (Mood::Oversized, "err=too-large"),
        (Mood::Garbage("[]"), "err=answer"),
        (Mood::Garbage("{\"token\":7}"), "err=answer"),
        (Mood::Redirecting("https://attacker.example".into()), "err=redirect"),
    ] {
        site.server.mood(mood.clone());
        let token = site.token();
        let ran = site.world.ask_for(IMAGE, &token, &none());
        assert!(
            ran.complaint().contains("step=quay-token") && ran.complaint().contains(said),
            "{mood:?}: {ran:?}"
        );
        assert!(!ran.complaint().contains(&token), "{ran:?}");
    }
    assert_eq!(attacker.seen().len(), 0);
    site.server.mood(Mood::Expired);
    let got = site.world.ask_for(IMAGE, &site.token(), &none()).credentials(REGISTRY);
    assert_eq!(got[2], "0s", "what is over is not kept");
}
