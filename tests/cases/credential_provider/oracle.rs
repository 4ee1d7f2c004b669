//! Oracle's registry.

use tripod_tests::farend::oci::signature::Rsa;
use tripod_tests::farend::oci::{OciAuth, OciMetadata, Ocir, Tenancy};
use tripod_tests::farend::{Collector, Mood, Server};

use super::world::World;

const REGISTRY: &str = "fra.ocir.io";
const IMAGE: &str = "fra.ocir.io/namespace/app";
const MATCH: &str = "match: [\"*.ocir.io\"]";
const PROVIDER: &str = "provider: ocir";

struct Oracle {
    world: World,
    tenancy: Tenancy,
    metadata: Server,
    auth: Server,
    registry: Server,
}

impl Oracle {
    fn new() -> Option<Self> {
        let mut world = World::new()?;
        let tenancy = Tenancy::new("ocid1.tenancy.oc1..aaaaaaaa1");
        let metadata = OciMetadata { tenancy: tenancy.clone(), region: "eu-frankfurt-1".into() };
        let metadata = world.serve_metadata(metadata);
        let auth = world.serve("auth.eu-frankfurt-1.oraclecloud.com", OciAuth(tenancy.clone()));
        let registry = world.serve(REGISTRY, Ocir(tenancy.clone()));
        Some(Self { world, tenancy, metadata, auth, registry })
    }
}

#[test]
fn an_instance_pulls_by_its_certificate_and_is_asked_once_an_hour() {
    let Some(oracle) = Oracle::new() else { return };
    oracle.world.configure(&[MATCH, PROVIDER]);
    for _ in 0..2 {
        let [user, password, kept] = oracle.world.ask(IMAGE).credentials(REGISTRY);
        assert!(user == "BEARER_TOKEN" && password.starts_with("ocir-"), "{user}");
        assert!((3_200..=3_300).contains(&kept.trim_end_matches('s').parse().unwrap()), "{kept}");
    }
    assert_eq!((oracle.auth.seen().len(), oracle.registry.seen().len()), (1, 1));
}

#[test]
fn a_user_signs_with_the_key_of_a_profile() {
    let Some(oracle) = Oracle::new() else { return };
    let key = Rsa::generate();
    oracle.tenancy.trust("ocid1.tenancy/ocid1.user/aa:bb", &key);
    let key_file = oracle.world.write("key.pem", key.pem());
    let profile = |key_file: &str| {
        format!("[PULL]\nuser=ocid1.user\nfingerprint=aa:bb\ntenancy=ocid1.tenancy\nkey_file={key_file}\n")
    };
    let file = oracle.world.write("config", &profile(&key_file));
    let configured = format!("configFile: {file}");
    oracle.world.configure(&[MATCH, PROVIDER, "identity: [user]", &configured, "profile: PULL"]);
    assert_eq!(oracle.world.ask(IMAGE).credentials(REGISTRY)[0], "BEARER_TOKEN");
    assert_eq!(oracle.metadata.seen().len(), 0);
    oracle.world.run(&["cache", "clear"], String::new());
    let other = oracle.world.write("other.pem", "hunter2");
    for (text, said) in [
        (profile("~/.oci/key.pem"), "has no key_file with an absolute path"),
        (profile(&other), "is no private key of RSA in PEM"),
        (profile("/nowhere"), "cannot open \"/nowhere\""),
        ("[DEFAULT]\nuser=x\n".to_owned(), "profile PULL of"),
    ] {
        oracle.world.write("config", &text);
        let ran = oracle.world.ask(IMAGE);
        assert!(ran.complaint().contains(said) && !ran.complaint().contains("hunter2"), "{said}: {ran:?}");
    }
}

#[test]
fn each_far_end_in_trouble_is_named() {
    let Some(mut oracle) = Oracle::new() else { return };
    let attacker = oracle.world.serve("attacker.example", Collector);
    oracle.world.configure(&[MATCH, PROVIDER]);
    for (mood, said) in [
        (Mood::Denied, "err=status"),
        (Mood::Truncated, "err=closed"),
        (Mood::Oversized, "err=too-large"),
        (Mood::Garbage("{}"), "err=answer"),
        (Mood::Redirecting("https://attacker.example".into()), "err=redirect"),
    ] {
        oracle.auth.mood(mood.clone());
        let ran = oracle.world.ask(IMAGE);
        let named = ran.complaint().contains("step=oci-session") && ran.complaint().contains(said);
        assert!(named, "{mood:?}: {ran:?}");
    }
    oracle.auth.mood(Mood::Well);
    oracle.registry.mood(Mood::Redirecting("https://attacker.example".into()));
    let ran = oracle.world.ask(IMAGE);
    assert!(ran.complaint().contains("step=ocir-token err=redirect"), "{ran:?}");
    oracle.metadata.mood(Mood::Garbage("no certificate"));
    let ran = oracle.world.ask(IMAGE);
    assert!(
        ran.complaint().contains("step=oci-metadata err=answer: it lacks a certificate in PEM"),
        "{ran:?}"
    );
    assert_eq!(attacker.seen().len(), 0);
}
