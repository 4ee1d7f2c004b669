use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Child, ChildError, Ended};
use crate::secret::SecretBytes;
use crate::step::Deadline;

/// Far longer than any of these programs takes, on a busy machine too.
const LONG: Duration = Duration::from_secs(60);

/// Runs `script` with `input`, and says how long that took.
fn run(script: &str, input: Vec<u8>, time: Duration) -> (Result<(Ended, SecretBytes), ChildError>, Duration) {
    let (args, env) = (["-c".to_owned(), script.to_owned()], BTreeMap::new());
    let child = Child { program: Path::new("/bin/sh"), args: &args, env: &env };
    let start = Instant::now();
    (child.run(SecretBytes::new(input), Deadline::from_now(time)), start.elapsed())
}

/// What `script` prints, and how it ends, long before the time is over.
fn printed(script: &str) -> (String, String) {
    let (outcome, took) = run(script, Vec::new(), LONG);
    let (ended, output) = outcome.unwrap();
    assert!(took < LONG / 2, "{script} took {took:?}");
    (String::from_utf8(output.expose().to_vec()).unwrap(), ended.to_string())
}

fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn assert_ends(pid: &str) {
    let until = Instant::now() + LONG;
    while is_running(pid) {
        assert!(Instant::now() < until, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn its_end_counts_and_not_that_of_its_stdout() {
    let (pid, ended) = printed("sleep 1000 & echo $!; exit 3");
    assert_eq!(ended, "exit code 3");
    assert_ends(pid.trim());
    // Out of its group, where nobody ends it.
    let (pid, ended) = printed("setsid sleep 1000 & echo $!; sleep 0.3; exit 0");
    assert_eq!(ended, "exit code 0");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid.trim().parse().unwrap()),
        nix::sys::signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(printed("echo early; exec >&-; sleep 0.3; exit 5"), ("early\n".into(), "exit code 5".into()));
    assert_eq!(printed("echo x; kill -9 $$"), ("x\n".into(), "signal 9".into()));
}

#[test]
fn all_is_read_that_was_printed_before_the_end() {
    let (output, _) = printed(
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
    );
    assert_eq!(output.len(), 3000 * 41);
}

#[test]
fn what_it_does_not_read_and_prints_too_much_of_is_no_reason_to_hang() {
    let (outcome, took) = run("echo done", vec![b'x'; 1 << 20], LONG);
    assert_eq!(outcome.unwrap().1.expose(), b"done\n");
    assert!(took < LONG / 2);
    let (outcome, took) = run("yes", Vec::new(), LONG);
    assert!(matches!(outcome, Err(ChildError::Output { .. })) && took < LONG / 2);
}

#[test]
fn at_the_deadline_it_is_ended_whatever_became_of_its_stdout() {
    for script in ["sleep 1000", "exec >&-; sleep 1000", "while :; do echo x; sleep 0.01; done"] {
        let (outcome, took) = run(script, Vec::new(), Duration::from_millis(300));
        assert!(matches!(outcome, Err(ChildError::Deadline { .. })), "{script}");
        assert!(took >= Duration::from_millis(300) && took < LONG / 2, "{script} took {took:?}");
    }
}
