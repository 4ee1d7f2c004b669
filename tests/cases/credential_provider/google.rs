//! Google's registries.

use tripod_tests::farend::google::{AccessTokens, GceMetadata, GoogleSts, IamCredentials};
use tripod_tests::farend::jwt::{Expected, Issuer};
use tripod_tests::farend::{Mood, Server};

use super::world::{World, none};

const IMAGE: &str = "europe-west4-docker.pkg.dev/project/repository/app";
const REGISTRY: &str = "europe-west4-docker.pkg.dev";
const USER: &str = "oauth2accesstoken";
const POOL: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
const ACCOUNT: &str = "puller@project.iam.gserviceaccount.com";
const MATCH: &str = "match: [gcr.io, \"*.gcr.io\", \"*.pkg.dev\"]";
const PROVIDER: &str = "provider: gcp";

/// A world with a machine's metadata, the exchange of tokens, and impersonation.
struct Google {
    world: World,
    cluster: Issuer,
    metadata: Server,
    sts: Server,
    iam: Server,
}

impl Google {
    fn new() -> Option<Self> {
        let mut world = World::new()?;
        let (tokens, cluster) = (AccessTokens::default(), Issuer::new("https://cluster.example"));
        let metadata = GceMetadata { tokens: tokens.clone(), account: "node@project".into() };
        let metadata = world.serve_metadata(metadata);
        let expected = Expected::service_account(&cluster, "team/puller", POOL);
        let subject = expected.subject.clone();
        let sts = GoogleSts { tokens: tokens.clone(), pool: POOL.into(), expected };
        let sts = world.serve("sts.googleapis.com", sts);
        let iam = IamCredentials { tokens, from: subject, to: ACCOUNT.into() };
        let iam = world.serve("iamcredentials.googleapis.com", iam);
        Some(Self { world, cluster, metadata, sts, iam })
    }
}

#[test]
fn a_node_pulls_with_its_machines_token_from_all_of_googles_registries() {
    let Some(google) = Google::new() else { return };
    google.world.configure(&[MATCH, PROVIDER]);
    for (image, registry) in
        [(IMAGE, REGISTRY), ("gcr.io/project/app", "gcr.io"), ("eu.gcr.io/p/app", "eu.gcr.io")]
    {
        let [user, password, kept] = google.world.ask(image).credentials(registry);
        assert!(user == USER && password.starts_with("ya29."), "{user}");
        assert!(
            (3_200..=3_300).contains(&kept.trim_end_matches('s').parse().unwrap()),
            "an hour less the margin: {kept}"
        );
    }
    assert_eq!(google.metadata.seen().len(), 1, "one token for all of them");
}

#[test]
fn a_pod_pulls_by_federation_with_or_without_impersonation() {
    let Some(google) = Google::new() else { return };
    let audience = format!("audience: \"{POOL}\"");
    let token = google.cluster.service_account("team/puller", POOL, 600);
    let identity = "identity: [service-account]";
    google.world.configure(&[MATCH, PROVIDER, identity, &audience]);
    let [user, ..] = google.world.ask_for(IMAGE, &token, &none()).credentials(REGISTRY);
    assert_eq!((user.as_str(), google.sts.seen().len(), google.iam.seen().len()), (USER, 1, 0));
    google.world.configure(&[MATCH, PROVIDER, identity, &audience, &format!("impersonate: {ACCOUNT}")]);
    google.world.ask_for(IMAGE, &token, &none()).credentials(REGISTRY);
    assert_eq!((google.sts.seen().len(), google.iam.seen().len()), (2, 1));
    let other = google.cluster.service_account("team/other", POOL, 600);
    let ran = google.world.ask_for(IMAGE, &other, &none());
    assert!(ran.complaint().contains("step=google-sts err=status status=400"), "{ran:?}");
    assert_eq!(google.metadata.seen().len(), 0, "never in the node's name");
    let ran = google.world.ask(IMAGE);
    assert!(ran.complaint().contains("the kubelet passed no service account token"), "{ran:?}");
}

#[test]
fn a_metadata_server_of_somebody_else_is_not_believed() {
    let Some(mut google) = Google::new() else { return };
    google.world.hurry();
    google.world.configure(&[MATCH, PROVIDER]);
    for (mood, said) in [
        (
            Mood::Garbage("{\"access_token\":\"x\",\"expires_in\":3600}"),
            "it lacks the header Metadata-Flavor",
        ),
        (Mood::Silent, "err=timeout"),
        (Mood::Denied, "err=status"),
    ] {
        google.metadata.mood(mood);
        let ran = google.world.ask(IMAGE);
        assert!(
            ran.complaint().contains("step=gce-metadata-token") && ran.complaint().contains(said),
            "{ran:?}"
        );
    }
    google.metadata.mood(Mood::Expired);
    assert_eq!(google.world.ask(IMAGE).credentials(REGISTRY)[2], "0s", "what is over is not kept");
}

#[test]
fn federation_without_its_pool_is_a_mistake_of_the_configuration() {
    let Some(google) = Google::new() else { return };
    google.world.configure(&[MATCH, PROVIDER, "identity: [service-account, metadata]"]);
    let ran = google.world.ask(IMAGE);
    assert!(
        ran.complaint().contains("registries[0].audience: it is missing; identity \"service-account\""),
        "{ran:?}"
    );
}
