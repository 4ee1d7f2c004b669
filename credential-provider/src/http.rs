//! Calls to the services that know credentials: cloud metadata, token endpoints, secret stores.
//!
//! Blocking, HTTP/1.1, one connection at a time. What holds for every call: it ends by the run's deadline,
//! whatever the far end does; it follows no redirect; its answer is bounded; its failure is a
//! [`StepError`](crate::step::StepError) that holds no secret. Names are resolved here ([`Resolver`]),
//! because a static program must not use the C library's resolver, which loads the host's NSS modules.
//!
//! Plain `http` is only for metadata services, for this node itself, and where a call says so: the one
//! place that decides is [`Call::may_go`]. A call leaves through the proxy only on [`Route::Internet`], and
//! then always with `CONNECT`, so that the proxy sees no request.
//!
//! Headers and bodies are wiped where they are kept here. The HTTP library's own buffers are not: the program
//! ends milliseconds later.

mod call;
mod client;
mod dns;
mod exchange;
mod form;
mod no_proxy;
mod proxy;
mod random;
mod reply;
mod retry;
mod roots;
mod tcp;
mod tls;
mod url;

use std::path::PathBuf;

use crate::secret::Secret;

pub use call::{Call, Method, Route};
pub use client::Client;
pub use dns::{DnsError, Resolver};
pub use form::form;
pub use proxy::ProxyError;
pub use reply::Reply;
pub use roots::{TrustError, count_certificates};
pub use url::{Url, UrlError, encode};

/// How this node reaches others.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Whether calls to the internet take a proxy.
    pub proxy: ProxyPolicy,
    /// Certificates of authorities to trust besides those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// What the environment says.
    pub variables: NetworkVariables,
    /// Where names are looked up.
    pub resolver: Resolver,
}

/// Whether calls to the internet take a proxy.
#[derive(Clone, Debug, Default)]
pub enum ProxyPolicy {
    /// As the environment says.
    #[default]
    FromEnvironment,
    /// Never.
    None,
    /// This one, except for what the environment's `NO_PROXY` names. Its URL may hold a password.
    Fixed(Secret),
}

impl ProxyPolicy {
    /// Whether a fixed proxy's URL can be used.
    pub fn check(&self) -> Result<(), ProxyError> {
        match self {
            Self::Fixed(url) => proxy::parse(url.expose()).map(|_| ()),
            Self::FromEnvironment | Self::None => Ok(()),
        }
    }

    /// Whether a fixed proxy's URL holds a password.
    pub fn has_password(&self) -> bool {
        matches!(self, Self::Fixed(url) if url.expose().contains('@'))
    }
}

/// The environment's word on the network. Each variable is read in upper case first, then in lower case, as
/// Go programs do, the kubelet among them; an empty one counts as absent.
#[derive(Clone, Debug, Default)]
pub struct NetworkVariables {
    /// `HTTPS_PROXY`: for `https` addresses.
    pub https_proxy: Option<Secret>,
    /// `HTTP_PROXY`: for `http` addresses.
    pub http_proxy: Option<Secret>,
    /// `NO_PROXY`: who is asked directly.
    pub no_proxy: Option<String>,
    /// `SSL_CERT_FILE`: certificates of authorities to trust instead of the system's.
    pub ssl_cert_file: Option<PathBuf>,
}

impl NetworkVariables {
    /// Takes them from `variable`, which looks one up by its name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase()))
        };
        Self {
            https_proxy: either("HTTPS_PROXY").map(Secret::new),
            http_proxy: either("HTTP_PROXY").map(Secret::new),
            no_proxy: either("NO_PROXY"),
            ssl_cert_file: variable("SSL_CERT_FILE").filter(|value| !value.is_empty()).map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NetworkVariables;

    #[test]
    fn upper_case_comes_first_and_empty_is_absent() {
        let variables = NetworkVariables::read(|name| {
            let value = match name {
                "HTTPS_PROXY" | "SSL_CERT_FILE" => "",
                "https_proxy" => "lower",
                "NO_PROXY" => "upper",
                "no_proxy" => "other",
                _ => return None,
            };
            Some(value.into())
        });
        assert_eq!(variables.https_proxy.unwrap().expose(), "lower");
        assert_eq!(variables.no_proxy.as_deref(), Some("upper"));
        assert!(variables.http_proxy.is_none() && variables.ssl_cert_file.is_none());
    }
}
