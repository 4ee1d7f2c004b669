//! `get IMAGE --redact`: the whole way to credentials, as the kubelet would have it, without showing them.

use std::path::Path;

use crate::claim::{self, Asker};
use crate::command::{Context, answer};
use crate::config::Config;
use crate::error::Error;
use crate::image::ImageRef;
use crate::provider::Grant;
use crate::secret::Secret;
use crate::service_account::ServiceAccount;
use crate::wire;

/// What would be answered for `text`, an image as a pod names it, in the name of `service_account`.
pub fn get(
    text: &str,
    path: &Path,
    service_account: Option<&ServiceAccount>,
    context: &Context,
) -> Result<String, Error> {
    let config = Config::load(path)?;
    let image = ImageRef::parse(text)?;
    let Some(claim) = claim::find(&config, &image) else {
        return Err(Error::NoEntry { image: image.to_string(), config: path.to_owned() });
    };
    let asker = Asker { service_account, variables: &context.variables };
    let run = context.run(&config);
    let grant = claim.grant(&image, asker, &run).map_err(|source| answer::failed(&claim, &image, source))?;
    let kept = grant.credential.cache_duration(&config.defaults, run.now);
    Ok(show(&grant, &wire::go(kept)))
}

fn show(Grant { credential, key, scope }: &Grant, kept: &str) -> String {
    format!(
        "auth key       {key}\ncacheKeyType   {}\ncacheDuration  {kept}\nusername       {}\npassword       {}\nfrom           {}\n",
        wire::cache_key_type(*scope),
        redacted(&credential.username),
        redacted(&credential.password),
        credential.origin,
    )
}

/// Enough to see that there is one.
fn redacted(secret: &Secret) -> String {
    if secret.is_empty() { "(empty)".into() } else { format!("(redacted, {} bytes)", secret.expose().len()) }
}
