//! Which proxy an address is asked through.

use thiserror::Error;

use crate::secret::Secret;

use super::call::{Call, Route};
use super::url::{Url, UrlError};
use super::{Network, ProxyPolicy, no_proxy};

/// Why a proxy's URL cannot be used. It does not repeat the URL, which may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProxyError {
    /// SOCKS, for instance.
    #[error("the proxy URL is neither http:// nor https://")]
    Scheme,
    /// What stands after user and password.
    #[error("the proxy URL cannot be used: {0}")]
    Address(UrlError),
    /// Something a URL cannot hold.
    #[error("user name and password of the proxy URL must be percent-encoded")]
    UserInfo,
}

/// A proxy: its URL with user and password, and its host and port, which may be shown.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) setting: ureq::Proxy,
    pub(super) authority: String,
}

/// The proxy that `call` takes on `network`.
pub(super) fn choose(network: &Network, call: &Call) -> Result<Option<Proxy>, ProxyError> {
    let direct = network.variables.no_proxy.as_deref().unwrap_or_default();
    if call.route == Route::Metadata || no_proxy::covers(direct, &call.url) {
        return Ok(None);
    }
    setting(network, call.url.is_plain()).map(|url| parse(url.expose())).transpose()
}

fn setting(network: &Network, plain: bool) -> Option<&Secret> {
    match &network.proxy {
        ProxyPolicy::None => None,
        ProxyPolicy::Fixed(url) => Some(url),
        ProxyPolicy::FromEnvironment if plain => network.variables.http_proxy.as_ref(),
        ProxyPolicy::FromEnvironment => network.variables.https_proxy.as_ref(),
    }
}

/// Reads a proxy's URL; one without a scheme is `http`.
pub(super) fn parse(text: &str) -> Result<Proxy, ProxyError> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(ProxyError::Scheme);
    }
    let (user, address) = match rest.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, rest),
    };
    let url = Url::parse(&format!("{scheme}://{address}")).map_err(ProxyError::Address)?;
    let whole = user.map_or_else(String::new, |user| format!("{user}@"));
    let whole = Secret::new(format!("{scheme}://{whole}{}", url.host_and_port()));
    let setting = ureq::Proxy::new(whole.expose()).ok().ok_or(ProxyError::UserInfo)?;
    Ok(Proxy { setting, authority: url.host_and_port() })
}

#[cfg(test)]
mod tests {
    use super::{ProxyError, choose, parse};
    use crate::http::{Call, Network, NetworkVariables, ProxyPolicy, Url, UrlError};
    use crate::secret::Secret;

    fn network(policy: ProxyPolicy) -> Network {
        let variables = NetworkVariables::read(|name| match name {
            "HTTPS_PROXY" => Some("http://user:hunter2@secure:3128".into()),
            "http_proxy" => Some("plain".into()),
            "NO_PROXY" => Some("direct.example.com".into()),
            _ => None,
        });
        Network { proxy: policy, variables, ..Network::default() }
    }

    fn chosen(policy: ProxyPolicy, url: &str) -> Option<String> {
        let call = Call::get("test", Url::parse(url).unwrap());
        choose(&network(policy), &call).unwrap().map(|proxy| proxy.authority)
    }

    #[test]
    fn who_takes_which_proxy() {
        let environment = |url| chosen(ProxyPolicy::FromEnvironment, url);
        assert_eq!(environment("https://a").as_deref(), Some("secure:3128"));
        assert_eq!(environment("http://a").as_deref(), Some("plain:80"));
        assert_eq!(environment("https://direct.example.com"), None);
        let fixed = |url| chosen(ProxyPolicy::Fixed(Secret::new("https://fixed".into())), url);
        assert_eq!(fixed("https://a").as_deref(), Some("fixed:443"));
        assert_eq!(fixed("https://direct.example.com"), None);
        assert_eq!(chosen(ProxyPolicy::None, "https://a"), None);
        let metadata = Call::get("test", Url::parse("http://169.254.169.254").unwrap()).metadata();
        assert!(choose(&network(ProxyPolicy::FromEnvironment), &metadata).unwrap().is_none());
    }

    #[test]
    fn a_useless_url_is_explained_without_it() {
        for (text, error) in [
            ("socks5://hunter2@a", ProxyError::Scheme),
            ("http://user:hunter2@a b", ProxyError::Address(UrlError::Host)),
            ("http://user:hunter2@a:x", ProxyError::Address(UrlError::Port)),
            ("http://user:hunter 2@a", ProxyError::UserInfo),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
            assert!(!error.to_string().contains("hunter"));
        }
        assert!(!format!("{:?}", parse("http://user:hunter2@a")).contains("hunter2"));
    }
}
