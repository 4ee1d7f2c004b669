//! Azure's registries.

use serde_json::json;
use tripod_tests::farend::azure::{Aad, Acr, AzureImds, Challenge, Tenant};
use tripod_tests::farend::jwt::{Expected, Issuer, claims};
use tripod_tests::farend::{Collector, Mood, Server};

use super::Ran;
use super::world::{World, none};

const REGISTRY: &str = "team-dnl1abc.azurecr.io";
const IMAGE: &str = "team-dnl1abc.azurecr.io/team/app";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "99999999-2222-3333-4444-555555555555";
const USER: &str = "00000000-0000-0000-0000-000000000000";
const SECRET: &str = "hunter2-client-secret";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const MATCH: &str = "match: [\"*.azurecr.io\", \"*.*.azurecr.io\"]";
const PROVIDER: &str = "provider: acr";

/// A world with a tenant, its directory, a machine's metadata and a registry.
struct Azure {
    world: World,
    cluster: Issuer,
    directory: Server,
    metadata: Server,
    registry: Server,
}

impl Azure {
    fn new(challenge: Challenge) -> Option<Self> {
        let mut world = World::new()?;
        let (tenant, cluster) = (Tenant::new(TENANT), Issuer::new("https://cluster.example"));
        let expected = Expected::service_account(&cluster, "team/puller", AUDIENCE);
        let directory = Aad::new(&tenant, CLIENT, SECRET, Some(expected));
        let directory = world.serve("login.microsoftonline.com", directory);
        let metadata = world.serve_metadata(AzureImds::new(&tenant, false, &[(CLIENT, "/subscriptions/x")]));
        let registry = world.serve(REGISTRY, Acr::new(&tenant, REGISTRY, challenge));
        Some(Self { world, cluster, directory, metadata, registry })
    }

    fn token(&self, audience: &str) -> String {
        self.cluster.service_account("team/puller", audience, 600)
    }
}

/// The seconds for which the kubelet may keep an answer that was given.
fn kept(ran: &Ran) -> u32 {
    let [user, password, kept] = ran.credentials(REGISTRY);
    assert_eq!(user, USER);
    assert!(claims(&password).is_some(), "a token of the registry's own");
    kept.trim_end_matches('s').parse().unwrap()
}

#[test]
fn a_managed_identity_pulls_and_is_asked_once_for_three_hours() {
    for challenge in [Challenge::Quoted, Challenge::Unquoted] {
        let Some(azure) = Azure::new(challenge) else { return };
        for lines in [
            &[MATCH, PROVIDER][..],
            &[MATCH, PROVIDER, &format!("clientId: {CLIENT}")],
            &[MATCH, PROVIDER, "resourceId: /subscriptions/x"],
        ] {
            azure.world.configure(lines);
            azure.registry.forget();
            for _ in 0..3 {
                assert!(
                    (10_000..=10_500).contains(&kept(&azure.world.ask(IMAGE))),
                    "three hours less the margin"
                );
            }
            assert_eq!(azure.registry.count("POST /oauth2/exchange"), 1);
        }
    }
}

#[test]
fn an_application_proves_itself_by_its_secret_or_by_a_token_on_the_node() {
    let Some(azure) = Azure::new(Challenge::Quoted) else { return };
    let secret = azure.world.write("secret", &format!("{SECRET}\n"));
    let token = azure.world.write("token", &azure.token(AUDIENCE));
    let who = [format!("tenantId: {TENANT}"), format!("clientId: {CLIENT}")];
    for (identity, file) in [
        ("identity: [client-secret]", format!("clientSecretFile: {secret}")),
        ("identity: [service-account, federated]", format!("tokenFile: {token}")),
    ] {
        azure.world.configure(&[MATCH, PROVIDER, identity, &file, &who[0], &who[1]]);
        assert!(kept(&azure.world.ask(IMAGE)) > 10_000);
    }
    assert_eq!(azure.metadata.seen().len(), 0);
}

#[test]
fn a_pod_pulls_in_its_own_name_and_nobody_elses() {
    let Some(azure) = Azure::new(Challenge::Quoted) else { return };
    azure.world.configure(&[MATCH, PROVIDER, "identity: [service-account]", "onMissingIdentity: fail"]);
    let annotations =
        json!({"kubernetes.azure.com/acr-client-id": CLIENT, "kubernetes.azure.com/acr-tenant-id": TENANT});
    assert!(kept(&azure.world.ask_for(IMAGE, &azure.token(AUDIENCE), &annotations)) > 10_000);
    // Another pod of the same account.
    azure.world.ask_for(IMAGE, &azure.token(AUDIENCE), &annotations).credentials(REGISTRY);
    assert_eq!(azure.directory.seen().len(), 1);
    let ran = azure.world.ask_for(IMAGE, &azure.token("other"), &annotations);
    assert!(
        ran.complaint().contains("step=entra-token err=status status=401 code=invalid_client"),
        "{ran:?}"
    );
    let ran = azure.world.ask_for(IMAGE, &azure.token(AUDIENCE), &none());
    assert!(ran.complaint().contains("there is no identity to ask with"), "{ran:?}");
    let ran = azure.world.ask(IMAGE);
    assert!(ran.complaint().contains("looked for service-account"), "{ran:?}");
    let evil =
        json!({"kubernetes.azure.com/acr-client-id": CLIENT, "kubernetes.azure.com/acr-tenant-id": "../x"});
    let ran = azure.world.ask_for(IMAGE, &azure.token(AUDIENCE), &evil);
    assert!(ran.complaint().contains("tenant id \"../x\""), "{ran:?}");
}

#[test]
fn the_registry_is_told_of_which_tenant_the_token_is() {
    let Some(azure) = Azure::new(Challenge::Quoted) else { return };
    let of_another = "tenantId: 22222222-2222-3333-4444-555555555555";
    azure.world.configure(&[MATCH, PROVIDER, "identity: [service-account]", of_another]);
    let annotations =
        json!({"kubernetes.azure.com/acr-client-id": CLIENT, "kubernetes.azure.com/acr-tenant-id": TENANT});
    assert!(kept(&azure.world.ask_for(IMAGE, &azure.token(AUDIENCE), &annotations)) > 10_000);
}

#[test]
fn a_missing_identity_may_be_put_up_with() {
    let Some(azure) = Azure::new(Challenge::Quoted) else { return };
    let lines = [MATCH, PROVIDER, "identity: [service-account]", "onMissingIdentity: anonymous"];
    azure.world.configure(&lines);
    let ran = azure.world.ask(IMAGE);
    assert!(ran.success && ran.stderr.contains("there is no identity"), "{ran:?}");
    assert!(ran.stdout.contains("\"cacheDuration\":\"0s\",\"auth\":{}"), "{ran:?}");
}

#[test]
fn a_realm_elsewhere_is_sent_nothing() {
    let attacker = "attacker.example";
    let Some(mut azure) = Azure::new(Challenge::Elsewhere(attacker.into())) else { return };
    let attacker = azure.world.serve(attacker, Collector);
    azure.world.configure(&[MATCH, PROVIDER]);
    let ran = azure.world.ask(IMAGE);
    assert!(ran.complaint().contains("wants the token to be sent to attacker.example"), "{ran:?}");
    assert_eq!(attacker.seen().len(), 0);
}

#[test]
fn a_look_alike_is_asked_nothing() {
    let Some(mut azure) = Azure::new(Challenge::Quoted) else { return };
    let attacker = azure.world.serve("registry.azurecr.io.evil.example", Collector);
    azure.world.configure(&["match: [\"*.azurecr.io.evil.example\"]", PROVIDER]);
    let ran = azure.world.ask("registry.azurecr.io.evil.example/app");
    assert!(ran.complaint().contains("is no registry of acr: nothing was asked"), "{ran:?}");
    assert_eq!(attacker.seen().len() + azure.metadata.seen().len(), 0);
}

#[test]
fn each_far_end_in_trouble_is_named_and_ends_in_time() {
    let Some(mut azure) = Azure::new(Challenge::Quoted) else { return };
    let attacker = azure.world.serve("attacker.example", Collector);
    azure.world.hurry();
    azure.world.configure(&[MATCH, PROVIDER]);
    let moods = [
        (Mood::Throttled, "err=status status=429"),
        (Mood::Denied, "err=status status=40"),
        (Mood::Silent, "err=timeout"),
        (Mood::Truncated, "err=closed"),
        (Mood::Oversized, "err=too-large"),
        (Mood::Garbage("<html>"), "err=answer"),
        (Mood::Redirecting("https://attacker.example".into()), "err=redirect"),
    ];
    for (mood, said) in moods {
        for (server, step) in
            [(&azure.metadata, "step=azure-imds-token"), (&azure.registry, "step=acr-exchange")]
        {
            server.mood_of("GET /metadata", mood.clone());
            server.mood_of("POST /oauth2/exchange", mood.clone());
            let ran = azure.world.ask(IMAGE);
            assert!(ran.complaint().contains(step) && ran.complaint().contains(said), "{mood:?}: {ran:?}");
            server.mood_of("GET /metadata", Mood::Well);
            server.mood_of("POST /oauth2/exchange", Mood::Well);
        }
    }
    assert_eq!(attacker.seen().len(), 0);
}

#[test]
fn explain_tells_the_calls_and_makes_none() {
    let Some(azure) = Azure::new(Challenge::Quoted) else { return };
    azure.world.configure(&[MATCH, PROVIDER]);
    let said = azure.world.explain(IMAGE);
    assert!(said.contains("ask the instance metadata service"), "{said}");
    assert!(said.contains("exchange it at https://team-dnl1abc.azurecr.io/oauth2/exchange"), "{said}");
    assert_eq!(azure.metadata.seen().len() + azure.registry.seen().len(), 0);
}
