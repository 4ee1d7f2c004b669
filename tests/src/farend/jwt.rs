//! JSON Web Tokens, as a cluster gives them to its ServiceAccounts and as services issue them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::epoch;

/// Whoever signs tokens: a cluster or a service.
#[derive(Clone)]
pub struct Issuer {
    url: Arc<str>,
    key: Arc<EcdsaKeyPair>,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no token, or has another signature.
    Forged,
    /// It is past.
    Expired,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.url)
    }
}

impl Issuer {
    /// An issuer with a key of its own, known as `url`.
    pub fn new(url: &str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::of_key(url, document.expect("a key").as_ref())
    }

    /// The one known as `url` with this key, in PKCS #8.
    pub fn of_key(url: &str, document: &[u8]) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document, &SystemRandom::new()).expect("a key");
        Self { url: url.into(), key: Arc::new(key) }
    }

    /// The token of the ServiceAccount `account`, as in `team/puller`, for one audience, good for `seconds`
    /// from now; past where that is negative.
    pub fn service_account(&self, account: &str, audience: &str, seconds: i64) -> String {
        let (namespace, name) = account.split_once('/').expect("a namespace and a name");
        let now = epoch(SystemTime::now()).cast_signed();
        self.sign(&json!({
            "iss": &*self.url,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "aud": [audience],
            "iat": now.min(now + seconds - 1),
            "exp": now + seconds,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name}},
        }))
    }

    /// A token of a service for `subject`, that ends at `expiry`.
    pub fn issue(&self, subject: &str, expiry: SystemTime) -> String {
        self.sign(&json!({"iss": &*self.url, "sub": subject, "exp": epoch(expiry), "jti": unique()}))
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "ES256", "typ": "JWT"}), claims)
    }

    /// The same under a header that says more of the key.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let packed = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", packed(header), packed(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token of this issuer that is not past at `now`.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Value, Fault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Forged)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Fault::Forged)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        key.verify(signed.as_bytes(), &signature).map_err(|_| Fault::Forged)?;
        let claims = claims(token).ok_or(Fault::Forged)?;
        let past = claims["exp"].as_u64().is_none_or(|end| end <= epoch(now));
        if past { Err(Fault::Expired) } else { Ok(claims) }
    }
}

/// The claims of a token, believed as they are.
pub fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let packed = parts.nth(1).filter(|_| parts.count() == 1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(packed).ok()?).ok()
}

/// Whether a token with these claims is meant for `audience`.
pub fn is_for(claims: &Value, audience: &str) -> bool {
    match &claims["aud"] {
        Value::Array(all) => all.iter().any(|one| one == audience),
        one => one == audience,
    }
}

/// A number that no other call has, so that no two tokens are the same.
pub(super) fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A time as a person writes it, `seconds` precise.
pub(super) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// What a far end's own tokens live for where nothing else is said.
pub(super) const HOUR: u64 = Duration::from_hours(1).as_secs();

/// The token of one subject for one audience, as a service trusts it.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Whose signature it has.
    pub issuer: Issuer,
    /// Its `sub`.
    pub subject: String,
    /// One of its `aud`.
    pub audience: String,
}

impl Expected {
    /// The token of the ServiceAccount `account`, as in `team/puller`.
    pub fn service_account(issuer: &Issuer, account: &str, audience: &str) -> Self {
        let subject = format!("system:serviceaccount:{}", account.replace('/', ":"));
        Self { issuer: issuer.clone(), subject, audience: audience.into() }
    }

    /// Why `token` is not the expected one.
    pub(super) fn check(&self, token: &str, now: SystemTime) -> Result<(), &'static str> {
        let claims = self.issuer.verify(token, now).map_err(|fault| match fault {
            Fault::Forged => "signature is invalid",
            Fault::Expired => "token is expired",
        })?;
        if !is_for(&claims, &self.audience) {
            return Err("audience is invalid");
        }
        if claims["sub"] == *self.subject { Ok(()) } else { Err("subject is not allowed") }
    }
}
