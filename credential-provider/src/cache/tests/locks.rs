//! The files of locks, and what is removed when.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::super::entry::Entry;
use super::super::key::CacheKey;
use super::super::lock::Turn;
use super::{HOUR, credential, store};
use crate::step::Deadline;

fn locks(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "lock")).count()
}

#[test]
fn no_key_waits_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let keys: Vec<_> = (0..1000).map(|n: u32| CacheKey::of("test").part("n", &n.to_string())).collect();
    let locks: Vec<_> = keys.iter().filter_map(|key| store.try_lock(key)).collect();
    assert_eq!(locks.len(), keys.len());
    assert!(keys.iter().all(|key| store.try_lock(key).is_none()), "each is held");
}

#[test]
fn the_locks_of_what_is_no_more_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, dir) = (store(folder.path()), folder.path().join("credentials"));
    let key = |n: u32| CacheKey::of("test").part("n", &n.to_string());
    let now = SystemTime::now();
    let entry = |expires| Entry::of(&credential("x", Some(expires)), now).unwrap();
    for n in 0..50 {
        drop(store.try_lock(&key(n)).unwrap());
    }
    store.keep(&key(0), &entry(now + HOUR * 12), now).unwrap();
    assert_eq!(locks(&dir), 50, "somebody may be about to fetch");
    let held = store.try_lock(&key(1)).unwrap();
    store.keep(&key(0), &entry(now + HOUR * 12), now + HOUR * 2).unwrap();
    assert_eq!(locks(&dir), 2, "that of the entry, and that which is held");
    store.clear().unwrap();
    assert_eq!(locks(&dir), 1, "that which is held");
    drop(held);
    store.clear().unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn one_at_a_time_also_while_the_lock_is_removed_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (key, inside) = (CacheKey::of("test"), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let _lock = match store.lock(&key, HOUR, Deadline::from_now(HOUR)) {
                        Turn::Ours(lock) => lock,
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have the lock");
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..2000 {
                store.clear().unwrap();
            }
        });
    });
}
