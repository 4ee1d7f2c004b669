//! Certificates of the authorities that are trusted.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::file::{self, FileError};

use super::Network;

/// Where distributions keep the bundle of authorities: Debian and Alpine, Fedora, SUSE, older Red Hat.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Why certificates to trust could not be read.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file.
    #[error("{}", crate::error::chain(.0))]
    File(#[from] FileError),
    /// Its text.
    #[error("{path:?} holds no PEM certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in it.
    #[error("certificate {number} of {path:?} cannot be read")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Its place in the file, from 1.
        number: usize,
    },
}

/// Where they are found.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// Instead of the system's bundle.
    system: Option<PathBuf>,
    /// Besides it.
    more: Option<PathBuf>,
}

impl Trust {
    pub(super) fn new(network: &Network) -> Self {
        Self { system: network.variables.ssl_cert_file.clone(), more: network.ca_file.clone() }
    }

    /// Reads them: the file that the environment names, else the first bundle of the system, else those built
    /// in; and the admin's own.
    pub(super) fn load(&self) -> Result<RootCertStore, TrustError> {
        let mut store = RootCertStore::empty();
        match &self.system {
            Some(path) => add_strictly(&mut store, path).map(drop)?,
            None => add_system(&mut store),
        }
        if let Some(path) = &self.more {
            add_strictly(&mut store, path)?;
        }
        Ok(store)
    }
}

/// Every certificate that can be used. The bundle is not the admin's work, so that what cannot be is passed
/// over.
fn add_system(store: &mut RootCertStore) {
    for path in BUNDLES {
        let Ok(loaded) = file::load(Path::new(path)) else { continue };
        let certificates = CertificateDer::pem_slice_iter(loaded.bytes.expose()).filter_map(Result::ok);
        if store.add_parsable_certificates(certificates).0 > 0 {
            return;
        }
    }
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
}

/// How many authorities the file at `path` names; an error where it could not be used.
pub fn count_certificates(path: &Path) -> Result<usize, TrustError> {
    add_strictly(&mut RootCertStore::empty(), path)
}

/// Every certificate of a file that the admin named, and their number, or an error.
fn add_strictly(store: &mut RootCertStore, path: &Path) -> Result<usize, TrustError> {
    let loaded = file::load(path)?;
    let mut count = 0;
    for (index, certificate) in CertificateDer::pem_slice_iter(loaded.bytes.expose()).enumerate() {
        let added = certificate.ok().and_then(|certificate| store.add(certificate).ok());
        added.ok_or_else(|| TrustError::Certificate { path: path.to_owned(), number: index + 1 })?;
        count = index + 1;
    }
    if count == 0 { Err(TrustError::Empty { path: path.to_owned() }) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Trust, TrustError};

    #[test]
    fn without_a_word_from_the_admin_somebody_is_trusted() {
        assert!(!Trust { system: None, more: None }.load().unwrap().is_empty());
    }

    #[test]
    fn a_file_the_admin_names_must_be_good() {
        let load = |path: &str| Trust { system: None, more: Some(PathBuf::from(path)) }.load().unwrap_err();
        let error = load("/nonexistent/ca.pem").to_string();
        assert!(error.contains("/nonexistent/ca.pem") && error.contains("No such file"), "{error}");
        assert!(matches!(load(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), TrustError::Empty { .. }));
    }
}
