//! The principal of a virtual machine of Oracle's: its certificate is worth a session, whose key is made here.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::EncodePublicKey;
use rsa::rand_core::OsRng;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::host::is_label;
use super::signer::{Signer, SignerError};
use crate::http::{Call, Url};
use crate::json;
use crate::provider::found::Found;
use crate::provider::{FetchError, Run};
use crate::secret::{Secret, SecretBytes};

const HOST: &str = "169.254.169.254:80";
const METADATA: &str = "http://169.254.169.254/opc/v2";
const METADATA_STEP: &str = "oci-metadata";
const SESSION_STEP: &str = "oci-session";
/// A node elsewhere has nobody at that address; this is not to cost its pulls more.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bits of a session's key, as Oracle's own clients make it.
const BITS: usize = 2048;
/// Where most regions are.
const USUAL_REALM: &str = "oraclecloud.com";
/// What stands before a tenancy's id in the subject of a certificate.
const TENANT: &[u8] = b"opc-tenant:";

#[derive(Deserialize)]
struct Answer {
    token: Secret,
}

/// A signer for the session that the instance's certificate is worth; absent on a machine that is none of Oracle's.
pub(super) fn signer(run: &Run) -> Result<Found<Signer>, FetchError> {
    let pem = match run.network.call(ask("/identity/cert.pem")?) {
        Err(error) if error.is_nobody() => return Ok(Found::Absent(format!("nobody answers at {HOST}"))),
        reply => reply?.body,
    };
    session(&Certificate::read(&pem)?, run).map(Found::There)
}

/// A signer for the session that `certificate` is worth.
fn session(certificate: &Certificate, run: &Run) -> Result<Signer, FetchError> {
    let intermediate = metadata("/identity/intermediate.pem", run)?;
    let key = metadata("/identity/key.pem", run)?;
    let session = RsaPrivateKey::new(&mut OsRng, BITS).ok().ok_or(SignerError::Session)?;
    let public = session.to_public_key().to_public_key_der().ok().ok_or(SignerError::Session)?;
    let body = serde_json::json!({
        "certificate": certificate.encoded(),
        "publicKey": BASE64_STANDARD.encode(public.as_bytes()),
        "intermediateCertificates": [Certificate::read(&intermediate)?.encoded()],
    });
    let name = certificate.key_id()?;
    let call = Signer::from_pem(name, key.expose())?.post(
        SESSION_STEP,
        session_address(run)?,
        body.to_string(),
        run.now,
    )?;
    let hint = "the instance's dynamic group needs a policy, and the node's clock has to be right";
    let reply = run.network.call(call.tries(3).hint(hint))?;
    let lacks = || FetchError::Answer { step: SESSION_STEP, lacks: "a token".to_owned() };
    let Answer { token } = json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
    let der = session.to_pkcs1_der().ok().ok_or(SignerError::Session)?;
    Ok(Signer::from_der(format!("ST${}", token.expose()), der.as_bytes())?)
}

fn metadata(path: &str, run: &Run) -> Result<SecretBytes, FetchError> {
    Ok(run.network.call(ask(path)?)?.body)
}

fn ask(path: &str) -> Result<Call, FetchError> {
    let wrong = |source| FetchError::Address { name: METADATA.to_owned(), source };
    let url = Url::parse(METADATA).and_then(|url| url.join(path)).map_err(wrong)?;
    let call = Call::get(METADATA_STEP, url).header("authorization", "Bearer Oracle").metadata();
    Ok(call.patience(PATIENCE).tries(3).hint("the node must be a virtual machine of Oracle's"))
}

/// Where sessions are had: in the instance's own region and realm.
fn session_address(run: &Run) -> Result<Url, FetchError> {
    let region = text(&metadata("/instance/canonicalRegionName", run)?);
    let found = run.network.call(
        ask("/instance/regionInfo/realmDomainComponent")?.expect(|status| status == 200 || status == 404),
    )?;
    let realm = if found.status == 200 { text(&found.body) } else { USUAL_REALM.to_owned() };
    let lacks = |what: &str| FetchError::Answer { step: METADATA_STEP, lacks: what.to_owned() };
    if !is_label(&region) || !realm.split('.').all(is_label) {
        return Err(lacks("a region and its realm"));
    }
    let address = format!("https://auth.{region}.{realm}/v1/x509");
    Url::parse(&address).map_err(|source| FetchError::Address { name: address, source })
}

fn text(bytes: &SecretBytes) -> String {
    String::from_utf8_lossy(bytes.expose().trim_ascii()).into_owned()
}

/// A certificate of the instance's.
struct Certificate(Vec<u8>);

impl Certificate {
    fn read(pem: &SecretBytes) -> Result<Self, FetchError> {
        let lacks = || FetchError::Answer { step: METADATA_STEP, lacks: "a certificate in PEM".to_owned() };
        let der = CertificateDer::from_pem_slice(pem.expose()).ok().ok_or_else(lacks)?;
        Ok(Self(der.as_ref().to_vec()))
    }

    /// PEM without its armour and line breaks.
    fn encoded(&self) -> String {
        BASE64_STANDARD.encode(&self.0)
    }

    /// `<tenancy>/fed-x509/<fingerprint>`, the fingerprint as pairs of hexadecimal digits between colons.
    fn key_id(&self) -> Result<String, SignerError> {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let pairs: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let tenancy = tenancy(&self.0).ok_or(SignerError::Tenancy)?;
        Ok(format!("{tenancy}/fed-x509/{}", pairs.join(":")))
    }
}

/// The text after [`TENANT`] in a DER string, whose length stands in the byte before.
fn tenancy(der: &[u8]) -> Option<String> {
    let start = der.windows(TENANT.len()).position(|window| window == TENANT)?;
    let length = usize::from(*der.get(start.checked_sub(1)?)?);
    let value = der.get(start + TENANT.len()..start + length)?;
    let is_plain = value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    is_plain.then(|| String::from_utf8_lossy(value).into_owned())
}
