//! `reset`: the program that runs between two holders of a device.

use std::time::Duration;

use crate::config::field::{Field, Table};
use crate::config::problem::Problems;
use crate::config::reset::Reset;
use crate::config::sharing::Sharing;

const MAX_COMMAND: usize = 16;
/// The kubelet gives PreStartContainer thirty seconds.
const LONGEST: u64 = 25;

/// `Some(None)` where there is none, and none is meant.
pub(super) fn check(
    resource: &Table<'_>,
    sharing: Option<Sharing>,
    problems: &mut Problems,
) -> Option<Option<Reset>> {
    let Some(field) = resource.field("reset") else { return Some(None) };
    if sharing.is_some_and(|sharing| sharing.is_shared()) {
        let fix = "remove it, or give each device to one container at a time";
        field.problem(problems, "is for devices that are not shared: others would lose theirs", fix);
    }
    let table = field.table(&["command", "timeout"], problems)?;
    let command = table
        .required("command", "give the program and its arguments", problems)
        .and_then(|field| command(field, problems));
    let timeout = table.field("timeout").map_or(Some(Reset::TIMEOUT), |field| timeout(field, problems));
    let (program, arguments) = command?;
    Some(Some(Reset { program, arguments, timeout: timeout? }))
}

fn command(field: &Field<'_>, problems: &mut Problems) -> Option<(String, Vec<String>)> {
    let items = field.list(MAX_COMMAND, problems)?;
    let words: Vec<_> = items.iter().filter_map(|item| word(item, problems)).collect();
    let Some((program, arguments)) = words.split_first() else {
        if items.is_empty() {
            field.problem(problems, "is empty", "give the program and its arguments");
        }
        return None;
    };
    if !program.starts_with('/') {
        let fix = "begin with the absolute path of a program in the device plugin's own container";
        field.problem(problems, format!("{program:?} is no absolute path"), fix);
        return None;
    }
    Some((program.clone(), arguments.to_vec()))
}

fn word(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = field.text(problems)?;
    if text.contains('\0') {
        field.problem(problems, "holds a null character", "no argument of a program can hold one");
        return None;
    }
    Some(text.to_owned())
}

fn timeout(field: &Field<'_>, problems: &mut Problems) -> Option<Duration> {
    let text = field.text(problems)?;
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    let timeout = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
    if timeout.is_none() {
        let fix = format!("give seconds from 1s to {LONGEST}s, which the kubelet waits for");
        field.problem(problems, format!("{text:?} is no time that a reset may take"), fix);
    }
    timeout.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(rest: &str) -> Result<Option<Reset>, (u64, String, String)> {
        let text = format!("version: v1\nresources:\n- name: a/b\n  match: {{paths: [/dev/x]}}\n  {rest}\n");
        match Config::parse(&text) {
            Ok(mut config) => Ok(config.rules.remove(0).reset.clone()),
            Err(mut problems) => {
                let problem = problems.remove(0);
                Err((problem.line, problem.key, problem.message))
            }
        }
    }

    #[test]
    fn a_reset_is_a_program_with_a_time_limit() {
        let reset = |seconds, arguments: &[&str]| Reset {
            program: "/hooks/reset-fpga".to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            timeout: Duration::from_secs(seconds),
        };
        assert_eq!(parse("count: 1"), Ok(None));
        assert_eq!(parse("reset: {command: [/hooks/reset-fpga]}"), Ok(Some(reset(20, &[]))));
        let full = "reset: {command: [/hooks/reset-fpga, --fast], timeout: 25s}";
        assert_eq!(parse(full), Ok(Some(reset(25, &["--fast"]))));
    }

    #[test]
    fn what_could_not_run_is_refused() {
        for (rest, key, message) in [
            ("reset: {}", ".command", "is missing"),
            ("reset: {command: []}", ".command", "is empty"),
            ("reset: {command: [fpga]}", ".command", "\"fpga\" is no absolute path"),
            ("reset: {command: [/x, 5]}", ".command[1]", "must be a string, not an integer"),
            ("reset: {command: [/x], timeout: 26s}", ".timeout", "\"26s\" is no time that a reset may take"),
            ("reset: {command: [/x], timeout: 0s}", ".timeout", "\"0s\" is no time that a reset may take"),
            ("reset: {command: [/x], timeout: 1m}", ".timeout", "\"1m\" is no time that a reset may take"),
            ("reset: {command: [/x], retries: 1}", ".retries", "is an unknown key"),
        ] {
            let expected = (5, format!("resources[0].reset{key}"), message.to_owned());
            assert_eq!(parse(rest), Err(expected), "{rest}");
        }
        let shared = parse("count: 2\n  reset: {command: [/x]}").unwrap_err();
        assert_eq!((shared.0, shared.1.as_str()), (6, "resources[0].reset"));
    }
}
