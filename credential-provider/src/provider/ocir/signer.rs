//! Requests that are signed as Oracle wants it: draft-cavage HTTP signatures with RSA and SHA-256.

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::http::{Call, Url};
use crate::secret::SecretBytes;

/// Who signs.
pub(super) struct Signer {
    /// By which name the far end knows the key.
    id: String,
    key: RsaKeyPair,
}

/// Why nothing can be signed.
#[derive(Debug, Error)]
pub enum SignerError {
    /// No private key, or none of RSA.
    #[error("the key of {0} is no private key of RSA in PEM, without a passphrase")]
    Key(String),
    /// The kernel's random numbers, or the key, failed.
    #[error("the key of {0} does not sign")]
    Sign(String),
    /// No session key could be made.
    #[error("no session key can be made")]
    Session,
    /// A certificate that does not say whose it is.
    #[error("the instance's certificate names no tenancy")]
    Tenancy,
    /// A profile that lacks something.
    #[error("profile {profile} of {file:?} has no {key}")]
    Profile {
        /// The file.
        file: std::path::PathBuf,
        /// The profile.
        profile: String,
        /// The key.
        key: &'static str,
    },
}

impl Signer {
    /// One whose key is `pem`, known as `id`.
    pub(super) fn from_pem(id: String, pem: &[u8]) -> Result<Self, SignerError> {
        let wrong = || SignerError::Key(id.clone());
        let der = PrivateKeyDer::from_pem_slice(pem).ok().ok_or_else(wrong)?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(wrong()),
        };
        Ok(Self { key: key.ok().ok_or_else(wrong)?, id })
    }

    /// One whose key is `der`, as PKCS #1 has it.
    pub(super) fn from_der(id: String, der: &[u8]) -> Result<Self, SignerError> {
        let key = RsaKeyPair::from_der(der).ok().ok_or(SignerError::Session)?;
        Ok(Self { id, key })
    }

    /// A signed GET.
    pub(super) fn get(&self, step: &'static str, url: Url, now: SystemTime) -> Result<Call, SignerError> {
        let date = httpdate::fmt_http_date(now);
        let target = format!("get {}", url.path());
        let host = url.authority();
        let signed = [("date", date.as_str()), ("(request-target)", &target), ("host", &host)];
        let authorization = self.authorization(&signed)?;
        Ok(Call::get(step, url).header("date", date).header("authorization", authorization))
    }

    /// A signed POST of a JSON document.
    pub(super) fn post(
        &self,
        step: &'static str,
        url: Url,
        body: String,
        now: SystemTime,
    ) -> Result<Call, SignerError> {
        const JSON: &str = "application/json";
        let date = httpdate::fmt_http_date(now);
        let target = format!("post {}", url.path());
        let (length, hash) =
            (body.len().to_string(), BASE64_STANDARD.encode(digest(&SHA256, body.as_bytes())));
        let signed = [
            ("date", date.as_str()),
            ("(request-target)", &target),
            ("content-length", &length),
            ("content-type", JSON),
            ("x-content-sha256", &hash),
        ];
        let authorization = self.authorization(&signed)?;
        let call = Call::post(step, url, JSON, SecretBytes::new(body.into_bytes()));
        Ok(call.header("date", date).header("x-content-sha256", hash).header("authorization", authorization))
    }

    fn authorization(&self, signed: &[(&str, &str)]) -> Result<String, SignerError> {
        let lines: Vec<_> = signed.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let names: Vec<_> = signed.iter().map(|(name, _)| *name).collect();
        let mut signature = vec![0; self.key.public().modulus_len()];
        let text = lines.join("\n");
        let failed = || SignerError::Sign(self.id.clone());
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).ok().ok_or_else(failed)?;
        Ok(format!(
            "Signature version=\"1\",headers=\"{}\",keyId=\"{}\",algorithm=\"rsa-sha256\",signature=\"{}\"",
            names.join(" "),
            self.id,
            BASE64_STANDARD.encode(signature)
        ))
    }
}
