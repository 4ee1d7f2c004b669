//! Oracle's signature of requests, and the keys of RSA that make it.

use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::farend::Request;

/// How far a request's date may lie from the service's.
const TOLERANCE: Duration = Duration::from_mins(5);
/// What comes before the key itself in a public key of RSA with 2048 bits.
const PUBLIC: [u8; 24] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00,
];

/// A key of RSA with 2048 bits.
pub struct Rsa {
    pem: String,
    pair: RsaKeyPair,
}

impl std::fmt::Debug for Rsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rsa")
    }
}

impl Rsa {
    /// A new key, made by openssl: nothing that is linked here anyway makes one.
    pub fn generate() -> Self {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        let output = openssl.output().expect("openssl is installed");
        assert!(output.status.success(), "{openssl:?}: {output:?}");
        let pem = String::from_utf8(output.stdout).expect("PEM");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("a key");
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
        Self { pem, pair }
    }

    /// The private key.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public key as it verifies.
    pub fn public(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// The public key as it is sent.
    pub fn public_pem(&self) -> String {
        let der = [&PUBLIC[..], &self.public()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der))
    }

    fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("a signature");
        BASE64_STANDARD.encode(signature)
    }
}

/// The key in a public key as it is sent.
pub(super) fn public_of(der: &[u8]) -> Option<Vec<u8>> {
    der.strip_prefix(&PUBLIC).map(<[u8]>::to_vec)
}

/// Why `request` is not signed as it must be, over at least `needed`.
pub(super) fn verify(
    request: &Request,
    needed: &[&str],
    key: impl Fn(&str) -> Option<Vec<u8>>,
    now: SystemTime,
) -> Result<(), String> {
    let header = request.header("Authorization").and_then(|header| header.strip_prefix("Signature "));
    let header = header.ok_or("there is no Signature")?;
    let part = |name: &str| {
        let mut parts = header.split(',').filter_map(|part| part.split_once('='));
        let found = parts.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim_matches('"'));
        found.ok_or_else(|| format!("{name} is missing"))
    };
    if (part("version")?, part("algorithm")?) != ("1", "rsa-sha256") {
        return Err("version or algorithm is another one".into());
    }
    let signed: Vec<_> = part("headers")?.split(' ').collect();
    if let Some(missing) = needed.iter().find(|name| !signed.contains(name)) {
        return Err(format!("{missing} is not signed"));
    }
    let date =
        request.header("Date").and_then(|date| httpdate::parse_http_date(date).ok()).ok_or("no date")?;
    if now.duration_since(date).unwrap_or_else(|before| before.duration()) > TOLERANCE {
        return Err("the date is outside of the allowed clock skew".into());
    }
    if signed.contains(&"x-content-sha256") && !request.has("x-content-sha256", &hash(&request.body)) {
        return Err("x-content-sha256 is that of another body".into());
    }
    let key = key(part("keyId")?).ok_or("keyId is not known")?;
    let signature = BASE64_STANDARD.decode(part("signature")?).map_err(|_| "signature is no Base64")?;
    let text = signing_text(request, &signed).ok_or("a signed header is missing")?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(text.as_bytes(), &signature)
        .map_err(|_| "the signature is another one".into())
}

fn hash(body: &[u8]) -> String {
    BASE64_STANDARD.encode(digest(&SHA256, body))
}

fn signing_text(request: &Request, signed: &[&str]) -> Option<String> {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let target = format!("{} {}{query}", request.method.to_ascii_lowercase(), request.path);
    let line = |name: &&str| match *name {
        "(request-target)" => Some(format!("{name}: {target}")),
        _ => request.header(name).map(|value| format!("{name}: {value}")),
    };
    Some(signed.iter().map(line).collect::<Option<Vec<_>>>()?.join("\n"))
}

/// Signs `request`, which must have its `Host` already, for tests of the services.
pub fn sign(request: Request, key: &Rsa, id: &str, now: SystemTime) -> Request {
    let mut request = request.with("Date", &httpdate::fmt_http_date(now));
    let mut signed = vec!["date", "(request-target)", "host"];
    if request.method == "POST" {
        let (length, hash) = (request.body.len().to_string(), hash(&request.body));
        request = request.with("Content-Length", &length).with("x-content-sha256", &hash);
        signed.extend(["content-length", "content-type", "x-content-sha256"]);
    }
    let signature = key.sign(&signing_text(&request, &signed).expect("every header"));
    let signed = signed.join(" ");
    request.with(
        "Authorization",
        &format!(
            "Signature version=\"1\",headers=\"{signed}\",keyId=\"{id}\",algorithm=\"rsa-sha256\",\
             signature=\"{signature}\""
        ),
    )
}
