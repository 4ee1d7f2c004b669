//! Provider `docker-config`: credentials that an admin put into a Docker `config.json`.

mod auths;

use std::path::Path;
use std::time::Instant;

pub use auths::{Auths, AuthsError, Selected, Unusable};

use super::{Credential, FetchError, Provider};
use crate::config::Registry;
use crate::file;
use crate::image::ImageRef;

/// The file of one entry.
#[derive(Clone, Copy, Debug)]
pub struct DockerConfigFile<'a> {
    /// The entry, which says for which images.
    pub registry: &'a Registry,
    /// The file, by absolute path.
    pub file: &'a Path,
}

impl Provider for DockerConfigFile<'_> {
    fn claims(&self, image: &ImageRef) -> bool {
        self.registry.matches(image)
    }

    /// None: the file is on this machine, and a password changed there must count at once.
    fn cache_key(&self, _image: &ImageRef) -> Option<String> {
        None
    }

    /// One bounded read of a local file, which needs no deadline. The file says nothing of expiry,
    /// so the answer is not cached and a rotated password is used from the next pull on.
    fn fetch(&self, image: &ImageRef, _deadline: Instant) -> Result<Credential, FetchError> {
        let loaded = file::load(self.file)?;
        let auths = Auths::parse(self.file, loaded.bytes.expose())?;
        let Selected { username, password, key, scope, auths_key } = auths.select(image)?;
        let origin = format!("auths key {auths_key:?} of {:?}", self.file);
        Ok(Credential { username, password, key, scope, expires_in: None, origin })
    }
}
