//! The value of one `auths` key.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use thiserror::Error;

use crate::json::Object;
use crate::secret::{Secret, SecretBytes};

/// Padded or not, as the kubelet accepts it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The fields that say who one is.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Option<Object<Fields>>")]
pub(super) struct RawEntry(Fields);

#[derive(Debug, Default, Deserialize)]
struct Fields {
    auth: Option<Secret>,
    username: Option<Secret>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

/// What the kubelet can be given.
#[derive(Debug)]
pub(super) struct UserPassword {
    pub(super) username: Secret,
    pub(super) password: Secret,
}

/// Why an entry cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unusable {
    /// No field, or only empty ones.
    #[error("it has neither \"auth\" nor \"username\" and \"password\"")]
    Empty,
    /// A token that is to be exchanged by the client.
    #[error("\"{0}\" is not supported, because the kubelet takes only user name and password")]
    Token(&'static str),
    /// `auth` is no base64.
    #[error("\"auth\" is not base64")]
    Base64,
    /// `auth` is base64 of something else.
    #[error("\"auth\" is not base64 of \"user:password\"")]
    UserPassword,
}

impl Unusable {
    /// What the admin can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Empty => "log in to the registry again and copy the file that results",
            Self::Token(_) => "use a user name with a password or access token",
            Self::Base64 | Self::UserPassword => {
                "write base64(user:password), or \"username\" and \"password\""
            }
        }
    }
}

impl From<Option<Object<Fields>>> for RawEntry {
    fn from(fields: Option<Object<Fields>>) -> Self {
        Self(fields.map(|Object(fields)| fields).unwrap_or_default())
    }
}

impl RawEntry {
    pub(super) fn user_password(&self) -> Result<UserPassword, Unusable> {
        let Fields { auth, username, password, identitytoken, registrytoken } = &self.0;
        for (token, name) in [(identitytoken, "identitytoken"), (registrytoken, "registrytoken")] {
            if given(token).is_some() {
                return Err(Unusable::Token(name));
            }
        }
        match (given(auth), given(username), given(password)) {
            (Some(auth), ..) => decode(auth),
            (None, None, None) => Err(Unusable::Empty),
            (None, username, password) => {
                Ok(UserPassword { username: or_empty(username), password: or_empty(password) })
            }
        }
    }
}

fn given(field: &Option<Secret>) -> Option<&Secret> {
    field.as_ref().filter(|secret| !secret.is_empty())
}

fn or_empty(field: Option<&Secret>) -> Secret {
    field.cloned().unwrap_or_else(|| Secret::new(String::new()))
}

/// `auth` is base64 of user and password around the first colon. Line breaks in it are passed over. What the
/// decoder would complain about is left out: it quotes the text.
fn decode(auth: &Secret) -> Result<UserPassword, Unusable> {
    let packed: Vec<u8> = auth.expose().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let packed = SecretBytes::new(packed);
    let plain = BASE64.decode(packed.expose()).ok().map(SecretBytes::new).ok_or(Unusable::Base64)?;
    let text = str::from_utf8(plain.expose()).ok().ok_or(Unusable::UserPassword)?;
    let (username, password) = text.split_once(':').ok_or(Unusable::UserPassword)?;
    Ok(UserPassword { username: Secret::new(username.into()), password: Secret::new(password.into()) })
}
