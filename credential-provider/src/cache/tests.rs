mod locks;
mod waiting;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::entry::Entry;
use super::key::CacheKey;
use super::store::{CacheError, Store};
use super::through;
use crate::http::{Client, Network};
use crate::provider::{Coverage, Credential, FetchError, Run};
use crate::secret::Secret;
use crate::step::Deadline;

const HOUR: Duration = Duration::from_secs(3600);

fn run(now: SystemTime) -> Run {
    let deadline = Deadline::after(Instant::now(), Duration::from_secs(1));
    Run { deadline, now, network: Client::new(&Network::default(), deadline) }
}

fn credential(password: &str, expires: Option<SystemTime>) -> Credential {
    let (username, password) = (Secret::new("user".into()), Secret::new(password.into()));
    Credential { username, password, coverage: Coverage::Registry, expires, origin: "a test".into() }
}

fn failed() -> FetchError {
    FetchError::NoIdentity("a test".into())
}

fn store(folder: &Path) -> Store {
    Store::open(&folder.join("credentials")).unwrap()
}

/// What is answered at `now`, and whether it was fetched.
fn ask(store: &Store, now: SystemTime, fetched: Result<Credential, FetchError>) -> (Option<String>, bool) {
    let mut asked = false;
    let answer = through(store, &CacheKey::of("test"), &run(now), |_| {
        asked = true;
        fetched
    });
    (answer.ok().map(|credential| credential.password.expose().to_owned()), asked)
}

#[test]
fn a_credential_is_fetched_once_renewed_at_half_its_life_and_used_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let begin = SystemTime::UNIX_EPOCH + HOUR * 400_000;
    let first = || Ok(credential("first", Some(begin + HOUR * 12)));
    assert_eq!(ask(&store, begin, first()), (Some("first".into()), true));
    assert_eq!(ask(&store, begin + HOUR * 5, Err(failed())), (Some("first".into()), false));
    assert_eq!(ask(&store, begin + HOUR * 7, Err(failed())), (Some("first".into()), true), "it is not over");
    assert_eq!(ask(&store, begin + HOUR * 12, Err(failed())), (None, true), "it is over");
    let second = credential("second", Some(begin + HOUR * 24));
    assert_eq!(ask(&store, begin + HOUR * 7, Ok(second)), (Some("second".into()), true));
    assert_eq!(ask(&store, begin + HOUR * 8, Err(failed())), (Some("second".into()), false));
    let third = credential("third", Some(begin + HOUR * 24));
    assert_eq!(ask(&store, begin, Ok(third)), (Some("third".into()), true), "the clock was set back");
}

#[test]
fn what_has_no_end_or_is_over_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let now = SystemTime::now();
    for expires in [None, Some(now), Some(now - HOUR)] {
        assert_eq!(ask(&store, now, Ok(credential("x", expires))), (Some("x".into()), true));
    }
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn while_one_renews_the_others_use_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let now = SystemTime::now();
    let key = CacheKey::of("test");
    let old = Entry::of(&credential("old", Some(now + HOUR)), now - HOUR * 12).unwrap();
    store.keep(&key, &old, now).unwrap();
    let lock = store.try_lock(&key).unwrap();
    assert_eq!(ask(&store, now, Err(failed())), (Some("old".into()), false));
    drop(lock);
    assert_eq!(ask(&store, now, Ok(credential("new", Some(now + HOUR)))), (Some("new".into()), true));
}

#[test]
fn a_lock_that_is_never_given_back_costs_time_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let _lock = store.try_lock(&CacheKey::of("test")).unwrap();
    let now = SystemTime::now();
    let fetched = credential("x", Some(now + HOUR));
    assert_eq!(ask(&store, now, Ok(fetched)), (Some("x".into()), true));
}

#[test]
fn a_folder_or_file_of_others_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("credentials");
    let store = Store::open(&dir).unwrap();
    let now = SystemTime::now();
    assert!(ask(&store, now, Ok(credential("mine", Some(now + HOUR)))).1);
    let file = dir.join(format!("{}.json", CacheKey::of("test").name()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(matches!(store.load(&CacheKey::of("test")), Err(CacheError::Unsafe { .. })));
    assert!(ask(&store, now, Ok(credential("again", Some(now + HOUR)))).1);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "it was replaced");
    std::fs::rename(&file, folder.path().join("elsewhere")).unwrap();
    symlink(folder.path().join("elsewhere"), &file).unwrap();
    assert!(store.load(&CacheKey::of("test")).is_err());
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(matches!(Store::open(&dir), Err(CacheError::Unsafe { .. })));
    let link = folder.path().join("link");
    symlink(&dir, &link).unwrap();
    assert!(matches!(Store::open(&link), Err(CacheError::Unsafe { .. })));
}

#[test]
fn what_is_no_entry_is_fetched_anew_and_what_is_over_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("credentials");
    let store = Store::open(&dir).unwrap();
    let now = SystemTime::now();
    let file = dir.join(format!("{}.json", CacheKey::of("test").name()));
    let over = Entry::of(&credential("over", Some(now - HOUR)), now - HOUR * 2).unwrap();
    for text in ["", "{", "[]", r#"{"v":2}"#, &"x".repeat(100_000)] {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        store.keep(&CacheKey::of("other"), &over, now - HOUR * 2).unwrap();
        assert!(ask(&store, now, Ok(credential("x", Some(now + HOUR)))).1, "{text}");
        assert_eq!(store.list().unwrap().len(), 1, "the other one is over");
    }
    assert_eq!(store.clear().unwrap(), 1);
    assert!(store.list().unwrap().is_empty());
}
