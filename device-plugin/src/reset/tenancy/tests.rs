use super::*;

/// What happens to one device, a second after what happened before.
#[derive(Clone, Copy, Debug)]
enum Step {
    HandOut,
    Refused,
    Start(Start),
    Prepared(bool),
    /// Absent since so many seconds.
    Released(u64),
    Held,
    Begin(bool),
    Ended(bool),
}

use Start::{Go, Prepare, Wait};
use Step::{Begin, Ended, HandOut, Held, Prepared, Refused, Released};

fn device() -> DeviceRef {
    DeviceRef { resource: "a/b".to_owned(), id: "x".to_owned() }
}

fn apply(tenancies: &mut Tenancies, step: Step, now: Instant) -> bool {
    match step {
        HandOut => tenancies.hand_out(vec![device()], now).is_ok(),
        Refused => tenancies.hand_out(vec![device()], now).is_err(),
        Step::Start(start) => tenancies.start(&device(), now) == start,
        Begin(begun) => tenancies.begin(now).is_empty() != begun,
        Prepared(well) => {
            tenancies.prepared(&device(), well);
            true
        }
        Released(ago) => {
            tenancies.released(device(), now - Duration::from_secs(ago), now);
            true
        }
        Held => {
            tenancies.held(device(), now);
            true
        }
        Ended(well) => {
            let outcome = if well { Ok(()) } else { Err("its reset failed".to_owned()) };
            tenancies.ended(&device(), outcome, now);
            true
        }
    }
}

#[test]
fn a_device_is_reset_once_between_two_holders() {
    let stories: &[&[Step]] = &[
        &[
            HandOut,
            Step::Start(Go),
            Step::Start(Go),
            Released(1),
            Begin(true),
            Ended(true),
            HandOut,
            Step::Start(Go),
        ],
        // The release was never noticed: the new holder's start is where it is reset.
        &[
            HandOut,
            Step::Start(Go),
            HandOut,
            Step::Start(Prepare),
            Step::Start(Wait),
            Prepared(true),
            Step::Start(Go),
        ],
        &[HandOut, Step::Start(Go), HandOut, Step::Start(Prepare), Prepared(false), Step::Start(Prepare)],
        // Nothing ran on what was given to a pod that came to nothing, nor between two containers of one.
        &[HandOut, HandOut, Step::Start(Go)],
        &[HandOut, Step::Start(Go), HandOut, HandOut, Step::Start(Prepare), Prepared(true), Step::Start(Go)],
        // Another holder came while it was prepared for one that is gone.
        &[
            HandOut,
            Step::Start(Go),
            HandOut,
            Step::Start(Prepare),
            HandOut,
            Prepared(true),
            Step::Start(Prepare),
        ],
        // After a start of the program: what is held was used, of the rest nothing is known.
        &[Held, Step::Start(Go), Released(1), Begin(true)],
        &[Held, HandOut, Step::Start(Prepare)],
        &[Step::Start(Go), HandOut, Step::Start(Prepare)],
    ];
    for story in stories {
        tell(story);
    }
}

#[test]
fn what_is_owed_a_reset_is_nobodys_until_it_succeeds() {
    let used: &[Step] = &[HandOut, Step::Start(Go), Released(1)];
    let stories: &[&[Step]] = &[
        &[Refused, Begin(true), Refused, Step::Start(Wait), Ended(true), HandOut],
        &[
            Begin(true),
            Ended(false),
            Refused,
            Begin(true),
            Begin(false),
            Ended(false),
            Begin(false),
            Begin(true),
        ],
        &[Begin(true), Begin(false), Released(1), Ended(true), HandOut],
    ];
    for story in stories {
        tell(&[used, story].concat());
    }
}

#[test]
fn what_somebody_holds_is_not_reset_behind_their_back() {
    let stories: &[&[Step]] = &[
        // The answers that lacked it are older than what they are about.
        &[
            HandOut,
            Step::Start(Go),
            Released(3),
            Begin(false),
            HandOut,
            Step::Start(Prepare),
            Released(5),
            Begin(false),
        ],
        &[HandOut, Step::Start(Go), Released(1), Held, Begin(false), Step::Start(Go), HandOut],
        // A holder that the kubelet had lost starts again before its answer says so.
        &[HandOut, Step::Start(Go), Released(1), Step::Start(Prepare), Begin(false), Prepared(true)],
    ];
    for story in stories {
        tell(story);
    }
}

fn tell(story: &[Step]) {
    let (mut tenancies, mut now) = (Tenancies::default(), Instant::now() + Duration::from_mins(1));
    for (at, step) in story.iter().enumerate() {
        now += Duration::from_secs(1);
        assert!(apply(&mut tenancies, *step, now), "{step:?}, number {at} of {story:?}: {tenancies:?}");
    }
}

#[test]
fn waits_double_up_to_ten_minutes() {
    assert_eq!([0, 1, 2, 9, 10, 99].map(|n| wait(n).as_secs()), [1, 2, 4, 512, 600, 600]);
}

#[test]
fn all_devices_of_a_container_are_given_or_none() {
    let other = DeviceRef { id: "y".to_owned(), ..device() };
    let (mut tenancies, now) = (Tenancies::default(), Instant::now());
    tenancies.released(other.clone(), now, now);
    let refused = tenancies.hand_out(vec![device(), other.clone()], now).unwrap_err();
    assert_eq!(refused, (other, "being reset".to_owned()));
    assert!(!tenancies.0.contains_key(&device()));
    assert_eq!(tenancies.due(), Some(now));
}
