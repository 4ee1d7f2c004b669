//! What counts as a missing identity, which an entry may put up with, and what as an error.

use tripod_tests::farend::azure::{Aad, Acr, Challenge, Tenant};

use super::world::World;
use super::{Node, Ran, Variables, request};

const AZURE: [&str; 2] = ["match: [\"*.azurecr.io\"]", "provider: acr"];
const GOOGLE: [&str; 2] = ["match: [gcr.io]", "provider: gcp"];
const ORACLE: [&str; 2] = ["match: [\"*.ocir.io\"]", "provider: ocir"];
const AMAZON: [&str; 2] = ["match: [\"*.dkr.ecr.*.amazonaws.com\"]", "provider: ecr"];

/// Each cloud with an image of its registry.
const CLOUDS: [([&str; 2], &str); 4] = [
    (AZURE, "team.azurecr.io/app"),
    (GOOGLE, "gcr.io/project/app"),
    (ORACLE, "fra.ocir.io/namespace/app"),
    (AMAZON, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"),
];

const NOT_PUT_UP_WITH: [&str; 2] = ["onError: fail", "onMissingIdentity: anonymous"];
const PUT_UP_WITH: [&str; 2] = ["onError: anonymous", "onMissingIdentity: fail"];

fn assert_anonymous(ran: &Ran, said: &str) {
    assert!(ran.success && ran.stderr.contains(said), "{said}: {ran:?}");
    assert!(ran.stdout.contains("\"cacheDuration\":\"0s\",\"auth\":{}"), "{ran:?}");
}

impl Node {
    /// Asks as the kubelet does, with these variables, where one entry has these lines.
    fn ask_with(&self, variables: Variables<'_>, lines: &[&str], image: &str) -> Ran {
        let lines = lines.join("\n    ");
        self.write("config.yaml", &format!("version: v1\ncache: {{mode: off}}\nregistries:\n  - {lines}\n"));
        self.run_with(variables, &[], request(image).as_bytes())
    }
}

#[test]
fn nobody_at_the_metadata_address_is_a_missing_identity() {
    let Some(world) = World::new() else { return };
    let said = "(nobody answers at 169.254.169.254:80)";
    for (lines, image) in CLOUDS {
        world.configure(&[lines, NOT_PUT_UP_WITH].concat());
        assert_anonymous(&world.ask(image), said);
        world.configure(&[lines, PUT_UP_WITH].concat());
        let ran = world.ask(image);
        assert!(ran.complaint().contains("there is no identity to ask with: looked for "), "{ran:?}");
        assert!(ran.complaint().contains(said), "{ran:?}");
    }
}

#[test]
fn an_address_that_leads_nowhere_is_nobody_too() {
    let Some(world) = World::new() else { return };
    world.lose_metadata();
    let (lines, image) = CLOUDS[1];
    world.configure(&[lines, NOT_PUT_UP_WITH].concat());
    assert_anonymous(&world.ask(image), "(nobody answers at 169.254.169.254:80)");
}

#[test]
fn the_next_identity_is_tried_where_nobody_is_at_the_metadata_address() {
    let Some(mut world) = World::new() else { return };
    let tenant = Tenant::new("tenant-1");
    let _directory = world.serve("login.microsoftonline.com", Aad::new(&tenant, "client-1", "s", None));
    let _registry = world.serve("team.azurecr.io", Acr::new(&tenant, "team.azurecr.io", Challenge::Quoted));
    let file = format!("clientSecretFile: {}", world.write("secret", "s"));
    let who = ["tenantId: tenant-1", "clientId: client-1", "identity: [managed, client-secret]", &file];
    world.configure(&[&AZURE[..], &who].concat());
    world.ask("team.azurecr.io/app").credentials("team.azurecr.io");
}

#[test]
fn a_metadata_server_that_is_named_has_to_be_there() {
    let node = Node::new();
    let lines = [GOOGLE, NOT_PUT_UP_WITH].concat();
    let ran = node.ask_with(&[("GCE_METADATA_HOST", "127.0.0.1:1")], &lines, "gcr.io/project/app");
    assert!(ran.complaint().contains("step=gce-metadata-token err=connect peer=127.0.0.1:1"), "{ran:?}");
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let node = Node::new();
    let of_application = "tenantId: t\n    clientId: c";
    let web =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"), ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")];
    let azure = [("AZURE_FEDERATED_TOKEN_FILE", "/nowhere")];
    let files: [(Variables<'_>, [&str; 2], &[&str], &str); 6] = [
        (
            &[],
            AZURE,
            &["identity: [client-secret]", "clientSecretFile: /nowhere", of_application],
            CLOUDS[0].1,
        ),
        (&[], AZURE, &["identity: [federated]", "tokenFile: /nowhere", of_application], CLOUDS[0].1),
        (&azure, AZURE, &["identity: [federated]", of_application], CLOUDS[0].1),
        (&[], ORACLE, &["identity: [user]", "configFile: /nowhere"], CLOUDS[2].1),
        (&web, AMAZON, &[], CLOUDS[3].1),
        (
            &[],
            ["match: [harbor.example.com]", "provider: harbor"],
            &["tokenFile: /nowhere"],
            "harbor.example.com/a",
        ),
    ];
    for (variables, lines, more, image) in files {
        let ask = |policy: [&str; 2]| node.ask_with(variables, &[&lines[..], more, &policy].concat(), image);
        let ran = ask(NOT_PUT_UP_WITH);
        assert!(ran.complaint().contains("cannot open \"/nowhere\""), "{ran:?}");
        assert_anonymous(&ask(PUT_UP_WITH), "cannot open \"/nowhere\"");
    }
}

#[test]
fn an_id_that_is_none_is_an_error() {
    let node = Node::new();
    let file = format!("clientSecretFile: {}", node.path("auth.json").display());
    let lines = [&AZURE[..], &["identity: [client-secret]", "clientId: c", &file], &NOT_PUT_UP_WITH].concat();
    let ran = node.ask_with(&[("AZURE_TENANT_ID", "../x")], &lines, CLOUDS[0].1);
    assert!(ran.complaint().contains("tenant id \"../x\": write an id such as"), "{ran:?}");
}
