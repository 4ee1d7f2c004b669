//! Oracle's cloud: an instance's identity leads to a session, and that to a password.

use std::time::SystemTime;

use tripod_tests::farend::oci::signature::{Rsa, sign};
use tripod_tests::farend::oci::{OciAuth, OciMetadata, Ocir, Tenancy};
use tripod_tests::farend::{Request, Server};

use super::{altered, answer, assert_refused, in_seconds};

#[test]
fn an_instances_identity_is_worth_a_password() {
    let tenancy = Tenancy::new("ocid1.tenancy.oc1..a");
    let metadata = Server::start(OciMetadata { tenancy: tenancy.clone(), region: "eu-frankfurt-1".into() });
    let get = Request::get("/opc/v2/identity/key.pem");
    assert_eq!(answer(&metadata, &get).status, 401);
    let pem = answer(&metadata, &get.with("Authorization", "Bearer Oracle")).body_text();
    assert_eq!(pem, tenancy.key().pem());

    let auth = Server::start(OciAuth(tenancy.clone()));
    let (session, now) = (Rsa::generate(), SystemTime::now());
    let post = Request::json("/v1/x509", &tenancy.federation(&session)).with("Host", "auth.example.com");
    let good = sign(post.clone(), tenancy.key(), &tenancy.key_id(), now);
    let token = answer(&auth, &good).document()["token"].as_str().unwrap().to_owned();
    for (request, word) in [
        (post.clone(), "there is no Signature"),
        (sign(post.clone(), &session, &tenancy.key_id(), now), "the signature is another one"),
        (sign(post.clone(), tenancy.key(), "other", now), "keyId"),
        (sign(post, tenancy.key(), &tenancy.key_id(), in_seconds(400)), "clock skew"),
        (altered(&good, "x-content-sha256", Some("x")), "another body"),
    ] {
        assert_refused(&answer(&auth, &request), 401, word);
    }

    let ocir = Server::start(Ocir(tenancy.clone()));
    let get = Request::get("/20180419/docker/token").with("Host", "ocir.eu-frankfurt-1.oci.oraclecloud.com");
    let ask = |key: &Rsa, id: &str| answer(&ocir, &sign(get.clone(), key, id, now));
    let id = format!("ST${token}");
    let document = ask(&session, &id).document();
    assert!(document["token"].is_string() && document["expires_in"] == 3600, "{document}");
    assert_refused(&ask(tenancy.key(), &id), 401, "the signature is another one");
    assert_refused(&ask(&session, &token), 401, "keyId");
    ocir.set_clock(1300);
    let later = sign(get.clone(), &session, &id, in_seconds(1300));
    assert_refused(&answer(&ocir, &later), 401, "keyId");
}
