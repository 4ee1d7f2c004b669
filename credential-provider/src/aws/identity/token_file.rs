//! A token on the node that is worth a role, as the environment says.

use std::path::Path;

use crate::aws::IdentityError;
use crate::aws::settings::arn;
use crate::aws::sts::{self, Role};
use crate::file;
use crate::provider::{FetchError, Variables};
use crate::secret::Secret;

use super::Sight;
use super::source::{Source, WebIdentity};

const FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";
const SESSION: &str = "AWS_ROLE_SESSION_NAME";

/// The one that `variables` name.
pub(super) fn look(variables: &Variables) -> Result<Sight, FetchError> {
    let (path, role) = match (variables.text(FILE), variables.text(ROLE)) {
        (Some(path), Some(role)) => (Path::new(path), role),
        (Some(_), None) => return Err(IdentityError::Half { there: FILE, lacks: ROLE }.into()),
        (None, _) => return Ok(Sight::Absent(format!("{FILE} is not set"))),
    };
    let refused =
        |why| IdentityError::Role { name: ROLE.to_owned(), holder: "the environment".to_owned(), why };
    let arn = arn(role).map_err(refused)?;
    let session = sts::session_name(variables.text(SESSION).unwrap_or(sts::SESSION));
    let role = Role { arn, session, external_id: None };
    let origin = format!("the token in {}", path.display());
    Ok(Sight::There(Box::new(Source::Token(WebIdentity { token: read(path)?, origin, role, region: None }))))
}

/// The token in the file at `path`, without the line break that an editor has put after it.
pub(super) fn read(path: &Path) -> Result<Secret, FetchError> {
    let loaded = file::load(path)?;
    Ok(Secret::new(String::from_utf8_lossy(loaded.bytes.expose().trim_ascii()).into_owned()))
}
