//! Who waits for whom, how long, and what is told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::super::entry::Entry;
use super::super::key::CacheKey;
use super::super::note::{News, Note, Tick};
use super::super::store::Store;
use super::super::through;
use super::{HOUR, ask, credential, failed, run, store};
use crate::error::chain;
use crate::http::{Client, Network};
use crate::provider::{Credential, FetchError, Run};
use crate::step::Deadline;

const MOMENT: Duration = Duration::from_millis(300);

fn key() -> CacheKey {
    CacheKey::of("test")
}

fn patient(now: SystemTime, seconds: u64) -> Run {
    let deadline = Deadline::from_now(Duration::from_secs(seconds));
    Run { deadline, now, network: Client::new(&Network::default(), deadline) }
}

/// The answers that twenty get who come at once, how often `fetch` was run, and how long it all took.
fn burst(
    store: &Store,
    fetch: impl Fn() -> Result<Credential, FetchError> + Sync,
) -> (Vec<Result<String, String>>, u32, Duration) {
    let (asked, start) = (AtomicU32::new(0), Instant::now());
    let one = || {
        let answer = through(store, &key(), &patient(SystemTime::now(), 25), |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(MOMENT);
            fetch()
        });
        answer.map(|answer| answer.password.expose().to_owned()).map_err(|error| chain(&error))
    };
    let answers = std::thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    (answers, asked.load(Ordering::SeqCst), start.elapsed())
}

#[test]
fn a_failure_is_told_to_all_who_waited_and_to_nobody_who_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (answers, asked, took) = burst(&store, || Err(FetchError::NoIdentity("hunted high and low".into())));
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().contains("hunted high and low")));
    assert!(asked <= 3 && took < MOMENT * 6, "asked {asked} times in {took:?}");
    let now = SystemTime::now();
    assert_eq!(ask(&store, now, Err(failed())), (None, true));
    assert_eq!(ask(&store, now, Ok(credential("x", Some(now + HOUR)))), (Some("x".into()), true));
}

#[test]
fn a_missing_identity_stays_one_for_those_who_are_told_of_it() {
    let News::Failed(told) = News::of(&failed()) else { panic!("it is for all") };
    assert!(FetchError::from(told).is_missing_identity());
    let News::Failed(told) = News::of(&FetchError::Waited) else { panic!("it is for all") };
    let told = FetchError::from(told);
    assert!(!told.is_missing_identity() && told.remedy() == FetchError::Waited.remedy());
}

#[test]
fn what_cannot_be_shared_is_fetched_by_all_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let (answers, asked, took) = burst(&store(folder.path()), || Ok(credential("x", None)));
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("x")) && asked == 20);
    assert!(took < MOMENT * 8, "one after the other it would be {:?}, and it was {took:?}", MOMENT * 20);
}

#[test]
fn who_renews_has_a_fifth_of_the_time_and_when_that_fails_nobody_tries_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let now = SystemTime::now();
    let old = Entry::of(&credential("old", Some(now + HOUR)), now - HOUR * 12).unwrap();
    store.keep(&key(), &old, now).unwrap();
    for (at, deadline, time) in [(100, 25, 5.0), (200, 2, 1.0)] {
        let mut given = Duration::ZERO;
        let later = now + Duration::from_secs(at);
        let answer = through(&store, &key(), &patient(later, deadline), |run| {
            given = run.deadline.left();
            Err(failed())
        });
        assert_eq!(answer.unwrap().password.expose(), "old");
        assert!((given.as_secs_f64() - time).abs() < 0.5, "{given:?} of {deadline} s");
    }
    let later = |seconds: u64| now + Duration::from_secs(200 + seconds);
    assert_eq!(ask(&store, later(29), Err(failed())), (Some("old".into()), false));
    assert_eq!(ask(&store, later(31), Err(failed())), (Some("old".into()), true));
    let new = || Ok(credential("new", Some(now + HOUR * 12)));
    assert_eq!(ask(&store, later(32), new()), (Some("old".into()), false));
    assert_eq!(ask(&store, later(62), new()), (Some("new".into()), true));
    assert_eq!(ask(&store, now + HOUR * 8, new()), (Some("new".into()), true), "a success leaves no pause");
}

#[test]
fn a_holder_is_waited_for_until_it_should_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let now = SystemTime::now();
    let entry = Entry::of(&credential("late", Some(now + HOUR)), now).unwrap();
    let asks_for = |time| Note::new(News::Asking(Tick::at(Deadline::from_now(time))), now);
    // Later than the patience with one who says nothing, and within its own time.
    let lock = store.try_lock(&key()).unwrap();
    lock.leave(&asks_for(Duration::from_secs(2)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1500));
            store.keep(&key(), &entry, now).unwrap();
            drop(lock);
        });
        let answer = through(&store, &key(), &patient(now, 2), |_| Err(failed()));
        assert_eq!(answer.unwrap().password.expose(), "late");
    });
    store.clear().unwrap();
    let lock = store.try_lock(&key()).unwrap();
    lock.leave(&asks_for(HOUR));
    let answer = through(&store, &key(), &run(now), |_| Err(failed()));
    assert!(matches!(answer, Err(FetchError::Waited)), "it works on, and the time is over");
    lock.leave(&asks_for(Duration::ZERO));
    assert!(ask(&store, now, Ok(credential("own", None))).1, "it should be done, and is not");
}

#[test]
fn who_gets_the_lock_of_one_that_died_asks() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let lock = store.try_lock(&key()).unwrap();
    lock.leave(&Note::new(News::Asking(Tick::at(Deadline::from_now(HOUR))), SystemTime::now()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(MOMENT);
            drop(lock);
        });
        assert!(ask(&store, SystemTime::now(), Err(failed())).1);
    });
}
