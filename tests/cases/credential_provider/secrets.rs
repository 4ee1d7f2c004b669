//! No secret that is read or fetched is seen anywhere but in the answer.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tripod_tests::farend::Mood;
use tripod_tests::farend::azure::{Aad, Acr, Challenge, Tenant};
use tripod_tests::farend::jwt::{Expected, Issuer};

use super::world::World;

const REGISTRY: &str = "registry.azurecr.io";
const IMAGE: &str = "registry.azurecr.io/team/app";
const SECRET: &str = "hunter2-client-secret";
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Files below `folder` that others than their owner may read, with their text.
fn readable(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() && metadata.permissions().mode() & 0o077 != 0 {
            found.extend(readable(&entry.path()));
        } else if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            let bytes = std::fs::read(entry.path()).unwrap();
            found.push((entry.path().display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    found
}

#[test]
fn no_verb_no_error_and_no_readable_file_shows_one() {
    let Some(mut world) = World::new() else { return };
    let (tenant, cluster) = (Tenant::new("tenant-1"), Issuer::new("https://cluster.example"));
    let expected = Expected::service_account(&cluster, "team/puller", AUDIENCE);
    let directory =
        world.serve("login.microsoftonline.com", Aad::new(&tenant, "client-1", SECRET, Some(expected)));
    let registry = world.serve(REGISTRY, Acr::new(&tenant, REGISTRY, Challenge::Quoted));
    let token = cluster.service_account("team/puller", AUDIENCE, 600);
    let secret_file = world.write("secret", SECRET);
    let token_file = world.write("token", &token);
    for file in [&secret_file, &token_file] {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let secret = format!("clientSecretFile: {secret_file}");
    let lines = [
        "match: [registry.azurecr.io]",
        "provider: acr",
        "tenantId: tenant-1",
        "clientId: client-1",
        &secret,
    ];
    let mut shown = Vec::new();
    let mut secrets = vec![SECRET.to_owned(), token.clone()];
    for identity in ["identity: [client-secret]", "identity: [service-account, client-secret]"] {
        world.configure(&[&lines[..], &[identity]].concat());
        for mood in [Mood::Well, Mood::Denied, Mood::Garbage("{}"), Mood::Truncated] {
            world.run(&["cache", "clear"], String::new());
            directory.mood(mood.clone());
            let ran = world.ask_for(IMAGE, &token, &json!({}));
            shown.push(ran.stderr.clone());
            if ran.success {
                secrets.push(ran.credentials(REGISTRY)[1].clone());
            }
            for verb in [
                &["explain", IMAGE, "--token", &token_file][..],
                &["get", IMAGE, "--redact", "--token", &token_file],
                &["doctor", IMAGE, "--json", "--token", &token_file],
                &["check-config", "--json"],
                &["cache", "ls", "--json"],
            ] {
                let ran = world.run(verb, String::new());
                shown.push(format!("{verb:?}: {}{}", ran.stdout, ran.stderr));
            }
        }
        directory.mood(Mood::Well);
    }
    // What the far ends issued on the way is secret as well.
    let sent = registry.seen().into_iter().filter_map(|seen| seen.request.field("access_token"));
    secrets.extend(sent);
    assert!(secrets.len() > 6, "{}", secrets.len());
    shown.extend(readable(&world.folder()).into_iter().map(|(path, text)| format!("{path}: {text}")));
    for secret in secrets {
        let seen = shown.iter().find(|text| text.contains(&secret));
        assert!(seen.is_none(), "{seen:?}");
    }
}

#[test]
fn doctor_tries_every_identity_and_says_how_long_it_took() {
    let Some(mut world) = World::new() else { return };
    let tenant = Tenant::new("tenant-1");
    let _directory = world.serve("login.microsoftonline.com", Aad::new(&tenant, "client-1", SECRET, None));
    let _registry = world.serve(REGISTRY, Acr::new(&tenant, REGISTRY, Challenge::Quoted));
    let secret = format!("clientSecretFile: {}", world.write("secret", SECRET));
    let identity = "identity: [service-account, client-secret, managed]";
    let lines = [
        "match: [registry.azurecr.io]",
        "provider: acr",
        "tenantId: tenant-1",
        "clientId: client-1",
        &secret,
        identity,
    ];
    world.configure(&lines);
    let said = world.run(&["doctor"], String::new()).stdout;
    for line in [
        "warn  identity     service-account for registry.azurecr.io/",
        "ok    identity     client-secret for registry.azurecr.io/",
        "warn  identity     managed for registry.azurecr.io/",
        "ok    credentials  registry.azurecr.io/",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line) && said.ends_with(" s")), "{line}\n{said}");
    }
    let ran = world.run(&["doctor", "nginx"], String::new());
    assert!(!ran.success && ran.stdout.contains("FAIL  entry"), "{ran:?}");
}
