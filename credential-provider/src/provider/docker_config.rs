//! Provider `docker-config`: credentials that an admin put into a Docker `config.json`, or left there to
//! helper programs.

mod auths;

use std::path::PathBuf;

pub use auths::{Auths, AuthsError, Selected, Unusable};

use super::docker_helper::{self, Helper};
use super::{Ask, Credential, FetchError, Provider, Run};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::file;
use crate::image::ImageRef;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file, by absolute path.
    pub file: PathBuf,
    /// Where the helper programs are that the file names.
    pub helper_dir: Option<PathBuf>,
}

/// Where the credentials of an image are.
enum Place {
    File(Selected),
    Helper(Helper),
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let needs = "provider \"docker-config\" needs the path of a Docker config.json";
        let file = keys.needed_path("file", needs);
        let helper_dir = keys.path("helperDir");
        Some(Self { file: file?, helper_dir })
    }

    fn look(&self, ask: &Ask<'_>) -> Result<Place, FetchError> {
        let loaded = file::load(&self.file)?;
        match Auths::parse(&self.file, loaded.bytes.expose())?.select(ask.image) {
            Ok(selected) => Ok(Place::File(selected)),
            Err(AuthsError::Helper { file, image, helper }) => match self.helper(&helper) {
                Some(program) => Ok(Place::Helper(program)),
                None => Err(AuthsError::Helper { file, image, helper }.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The helper program `name` of the file.
    fn helper(&self, name: &str) -> Option<Helper> {
        // The name is part of a path, and comes from a file.
        let is_name = !name.contains(['/', '\0']);
        let folder = self.helper_dir.as_ref().filter(|_| is_name)?;
        Some(Helper::new(folder.join(format!("{}{name}", docker_helper::PREFIX))))
    }
}

impl Provider for Settings {
    fn recognises(&self, _image: &ImageRef) -> Result<(), FetchError> {
        Ok(())
    }

    /// None: the file is on this machine, and a password changed there must count at once.
    fn cache_key(&self, _ask: &Ask<'_>) -> Option<CacheKey> {
        None
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        Ok(vec![match self.look(ask)? {
            Place::File(Selected { auths_key, .. }) => {
                format!("take auths key {auths_key:?} of {:?}", self.file)
            }
            Place::Helper(helper) => helper.step(ask.image),
        }])
    }

    /// The file says nothing of expiry, so the answer is not cached and a rotated password is used from the
    /// next pull on.
    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        match self.look(ask)? {
            Place::File(Selected { username, password, coverage, auths_key }) => {
                let origin = format!("auths key {auths_key:?} of {:?}", self.file);
                Ok(Credential { username, password, coverage, expires: None, origin })
            }
            Place::Helper(helper) => helper.get(ask.image, run.deadline),
        }
    }
}
