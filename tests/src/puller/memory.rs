//! What the kubelet remembers of a plugin's answers, in memory only, and how calls at once become one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::response::CacheKeyType;
use super::{Account, CacheType, Login, Provider, Response};

type Logins = Vec<(String, Login)>;
type Answer = Result<Response, String>;

/// The memory of one entry of the configuration.
#[derive(Debug, Default)]
pub(super) struct Memory {
    kept: Mutex<HashMap<String, Kept>>,
    flights: Mutex<HashMap<String, Arc<OnceLock<Answer>>>>,
}

#[derive(Debug)]
struct Kept {
    logins: Logins,
    until: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// What is remembered for `image`, or else what `execute` answers.
    pub(super) fn recall(
        &self,
        provider: &Provider,
        image: &str,
        account: Option<&Account>,
        execute: impl FnOnce() -> Answer,
    ) -> Result<Logins, String> {
        let whose = provider.token.zip(account).map_or_else(String::new, |(token, account)| {
            key_of(account, token.cache_type == CacheType::Token)
        });
        if let Some(logins) = self.remembered(image, &whose) {
            return Ok(logins);
        }
        // Not by the cache's key: the token counts whatever the answer is remembered by.
        let flight = format!("{image} {}", account.map_or_else(String::new, |a| key_of(a, true)));
        let response = self.share(&flight, execute)?;
        refuse_token(provider, account, &response)?;
        self.remember(image, &whose, provider.default_cache_duration, &response);
        Ok(response.auth)
    }

    fn remembered(&self, image: &str, whose: &str) -> Option<Logins> {
        let kept = lock(&self.kept);
        let keys = [CacheKeyType::Image, CacheKeyType::Registry, CacheKeyType::Global];
        let mut found = keys.into_iter().filter_map(|kind| kept.get(&cache_key(kind, image, whose)));
        found.find(|kept| Instant::now() < kept.until).map(|kept| kept.logins.clone())
    }

    fn remember(&self, image: &str, whose: &str, default: Duration, response: &Response) {
        let duration = response.cache_duration.unwrap_or(Some(default));
        // Negative: past before it is stored.
        let Some(duration) = duration.filter(|duration| !duration.is_zero()) else { return };
        let kept = Kept { logins: response.auth.clone(), until: Instant::now() + duration };
        lock(&self.kept).insert(cache_key(response.cache_key_type, image, whose), kept);
    }

    /// Executes once for all who ask at the same time.
    fn share(&self, key: &str, execute: impl FnOnce() -> Answer) -> Answer {
        let flight = Arc::clone(lock(&self.flights).entry(key.to_owned()).or_default());
        let answer = flight.get_or_init(execute).clone();
        let mut flights = lock(&self.flights);
        if flights.get(key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(key);
        }
        answer
    }
}

/// Who asks: with its token, or without.
fn key_of(account: &Account, with_token: bool) -> String {
    let Account { name, uid, token, annotations } = account;
    format!("{name} {uid} {annotations:?} {}", if with_token { token } else { "" })
}

fn cache_key(kind: CacheKeyType, image: &str, whose: &str) -> String {
    let what = match kind {
        CacheKeyType::Image => image,
        CacheKeyType::Registry => image.split('/').next().unwrap_or_default(),
        CacheKeyType::Global => "<global>",
    };
    format!("{what} {whose}")
}

/// What would be remembered for a ServiceAccount must not be a token of one of its pods.
fn refuse_token(provider: &Provider, account: Option<&Account>, response: &Response) -> Result<(), String> {
    let shared = provider.token.is_some_and(|token| token.cache_type == CacheType::ServiceAccount);
    let given_back = account
        .filter(|_| shared)
        .is_some_and(|account| response.auth.iter().any(|(_, login)| login.password == account.token));
    if given_back {
        return Err("credential provider plugin returned the service account token as a password".into());
    }
    Ok(())
}
