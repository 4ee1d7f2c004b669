//! Who exists in AWS: access keys, and roles with those who may assume them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::farend::jwt::{Issuer, unique};

/// All keys and roles, shared by the services.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    keys: HashMap<String, Key>,
    roles: HashMap<String, Trust>,
    forbidden: HashSet<(String, String)>,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `AKIA…`, or `ASIA…` of a temporary one.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The session token of a temporary key.
    pub token: Option<String>,
    /// The end of a temporary key.
    pub expires: Option<SystemTime>,
    /// The ARN of whom it stands for.
    pub principal: String,
}

/// Who may assume a role.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whoever shows a token with this subject and audience.
    WebIdentity {
        /// Whose token.
        issuer: Issuer,
        /// Its `sub`.
        subject: String,
        /// Its `aud`.
        audience: String,
    },
    /// A principal that names this external id, if there is one.
    Principal {
        /// The ARN.
        arn: String,
        /// What it must name.
        external_id: Option<String>,
    },
}

impl Key {
    /// A long-lived key.
    pub fn of_user(id: &str, secret: &str, principal: &str) -> Self {
        Self { id: id.into(), secret: secret.into(), token: None, expires: None, principal: principal.into() }
    }
}

impl Accounts {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key and returns it.
    pub fn add(&self, key: Key) -> Key {
        self.book().keys.insert(key.id.clone(), key.clone());
        key
    }

    /// Adds a role.
    pub fn add_role(&self, arn: &str, trust: Trust) {
        self.book().roles.insert(arn.into(), trust);
    }

    /// Forbids `principal` an action, as in `ecr:GetAuthorizationToken`.
    pub fn forbid(&self, principal: &str, action: &str) {
        self.book().forbidden.insert((principal.into(), action.into()));
    }

    /// Issues a temporary key for `principal` until `expires`.
    pub fn issue(&self, principal: &str, expires: SystemTime) -> Key {
        let number = unique();
        self.add(Key {
            id: format!("ASIA{number:016}"),
            secret: format!("temporary/secret+{number:08}"),
            // The characters that a real one has and that are easily spoilt on the way.
            token: Some(format!("IQoJb3JpZ2luX2Vj+session/{number:08}==")),
            expires: Some(expires),
            principal: principal.into(),
        })
    }

    pub(super) fn key(&self, id: &str) -> Option<Key> {
        self.book().keys.get(id).cloned()
    }

    pub(super) fn trust(&self, role: &str) -> Option<Trust> {
        self.book().roles.get(role).cloned()
    }

    pub(super) fn may(&self, principal: &str, action: &str) -> bool {
        !self.book().forbidden.contains(&(principal.to_owned(), action.to_owned()))
    }
}
