//! AWS under its own names and addresses, with no address overridden.

use serde_json::json;
use tripod_tests::farend::aws::{Accounts, ContainerCredentials, Ecr, EcrPublic, Imds, Sts, Trust};
use tripod_tests::farend::jwt::Issuer;

use super::super::world::{World, none};
use super::{
    AGENT_AUDIENCE, AUDIENCE, IMAGE, MATCH, NODE_ROLE, POD_ROLE, PUBLIC, PUBLIC_IMAGE, REGION, annotated,
    session,
};

const SUBJECT: &str = "system:serviceaccount:team:puller";

#[test]
fn a_node_needs_nothing_but_its_role() {
    let Some(mut world) = World::new() else { return };
    let accounts = Accounts::default();
    let ecr = world.serve("api.ecr.eu-west-1.amazonaws.com", Ecr::new(&accounts, REGION));
    let public = world.serve("api.ecr-public.us-east-1.amazonaws.com", EcrPublic::new(&accounts));
    world.configure(&[MATCH, "provider: ecr"]);
    let said = "imds (nobody answers at 169.254.169.254:80)";
    world.ask(IMAGE).assert_says(&["there is no identity to ask with", said]);
    let imds = world.serve_metadata(Imds::new(&accounts, REGION, Some(NODE_ROLE)));
    assert_eq!(world.ask(IMAGE).principal().0, session(NODE_ROLE, "i-0123456789"));
    world.configure(&PUBLIC);
    assert_eq!(world.ask(PUBLIC_IMAGE).principal().0, session(NODE_ROLE, "i-0123456789"));
    assert_eq!((ecr.seen().len(), public.seen().len(), imds.seen().len()), (1, 1, 6));
}

#[test]
fn a_pod_needs_nothing_but_its_token() {
    let Some(mut world) = World::new() else { return };
    let (accounts, cluster) = (Accounts::default(), Issuer::new("https://cluster.example"));
    let (issuer, subject, audience) = (cluster.clone(), SUBJECT.to_owned(), AUDIENCE.to_owned());
    accounts.add_role(POD_ROLE, Trust::WebIdentity { issuer, subject, audience });
    let _ecr = world.serve("api.ecr.eu-west-1.amazonaws.com", Ecr::new(&accounts, REGION));
    let _sts = world.serve("sts.eu-west-1.amazonaws.com", Sts::new(&accounts, REGION));
    let agent = ContainerCredentials::of_pod(&accounts, POD_ROLE, &cluster, SUBJECT);
    let _agent = world.serve_at("169.254.170.23", agent);
    world.configure(&[MATCH, "provider: ecr", "identity: [service-account]"]);
    let token = |audience| cluster.service_account("team/puller", audience, 600);
    let ran = world.ask_for(IMAGE, &token(AUDIENCE), &annotated(POD_ROLE));
    assert_eq!(ran.principal().0, session(POD_ROLE, "team-puller"));
    world.configure(&[MATCH, "provider: ecr", "identity: [pod-identity]"]);
    let ran = world.ask_for(IMAGE, &token(AGENT_AUDIENCE), &none());
    assert_eq!(ran.principal().0, session(POD_ROLE, "task"));
    world.ask_for(IMAGE, "x", &json!({})).assert_says(&["the service account's token is no JWT"]);
}
