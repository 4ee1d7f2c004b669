//! `get IMAGE --redact`: the whole way to credentials, as the kubelet would have it, without showing them.

use std::path::Path;
use std::time::Duration;

use crate::claim::{self, Asker};
use crate::command::Context;
use crate::command::answer::{self, Answer, Given};
use crate::config::Config;
use crate::error::Error;
use crate::image::ImageRef;
use crate::provider::{Grant, Scope};
use crate::secret::{Secret, SecretBytes};
use crate::service_account::ServiceAccount;
use crate::wire;

/// What would be answered for `text`, an image as a pod names it, in the name of `service_account`.
pub fn get(
    text: &str,
    path: &Path,
    service_account: Option<&ServiceAccount>,
    context: &Context,
) -> Result<Answer, Error> {
    let config = Config::load(path)?;
    let image = ImageRef::parse(text)?;
    let Some(claim) = claim::find(&config, &image) else {
        return Err(Error::NoEntry { image: image.to_string(), config: path.to_owned() });
    };
    let asker = Asker { service_account, variables: &context.variables };
    let run = context.run(&config);
    let (text, complaint) = match answer::give(&claim, &image, asker, &run)? {
        Given::Grant(grant) => {
            let kept = grant.credential.cache_duration(&config.defaults, run.now);
            (show(&grant, &wire::go(kept)), None)
        }
        Given::Nothing(error) => (show_nothing(), Some(error)),
    };
    Ok(Answer { document: SecretBytes::new(text.into_bytes()), complaint })
}

fn show(Grant { credential, key, scope, .. }: &Grant, kept: &str) -> String {
    format!(
        "auth key       {key}\ncacheKeyType   {}\ncacheDuration  {kept}\nusername       {}\npassword       {}\nfrom           {}\n",
        wire::cache_key_type(*scope),
        redacted(&credential.username),
        redacted(&credential.password),
        credential.origin,
    )
}

/// As the kubelet is told it, which then pulls without credentials.
fn show_nothing() -> String {
    let (kind, kept) = (wire::cache_key_type(Scope::Image), wire::go(Duration::ZERO));
    format!(
        "auth key       (none: the image is pulled without credentials)\ncacheKeyType   {kind}\ncacheDuration  {kept}\n"
    )
}

/// Enough to see that there is one.
fn redacted(secret: &Secret) -> String {
    if secret.is_empty() { "(empty)".into() } else { format!("(redacted, {} bytes)", secret.expose().len()) }
}
