//! `check-config`: every problem of a config file, and how long its device lists are.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::CheckConfigArgs;
use crate::config::{Config, ConfigError, Rule, Selector};
use crate::error::chain;
use crate::inventory::limits::{self, MAX_LIST_BYTES};

/// One line of the report, in the form all of Tripod's checks share.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    severity: &'static str,
    object: String,
    evidence: String,
    fix: String,
}

/// Reports on `stdout`; says whether the config is good.
pub(crate) fn run(args: &CheckConfigArgs, stdout: &mut dyn Write) -> io::Result<bool> {
    let outcome = Config::load(&args.config);
    let findings = findings(&args.config, &outcome);
    if args.json {
        serde_json::to_writer_pretty(&mut *stdout, &findings)?;
        writeln!(stdout)?;
    } else {
        for finding in &findings {
            let fix = if finding.fix.is_empty() { String::new() } else { format!(" ({})", finding.fix) };
            writeln!(stdout, "{}: {}{fix}", finding.object, finding.evidence)?;
        }
    }
    Ok(outcome.is_ok())
}

fn findings(path: &Path, outcome: &Result<Config, ConfigError>) -> Vec<Finding> {
    let file = path.display();
    match outcome {
        Ok(config) => good(&file.to_string(), config),
        Err(ConfigError::Invalid { problems, .. }) => problems
            .iter()
            .map(|problem| {
                let place =
                    if problem.line == 0 { file.to_string() } else { format!("{file}:{}", problem.line) };
                let object = if problem.key.is_empty() { place } else { format!("{place}: {}", problem.key) };
                finding("fail", object, problem.message.clone(), &problem.fix)
            })
            .collect(),
        Err(error) => vec![finding("fail", file.to_string(), chain(error), "give a readable config file")],
    }
}

fn good(file: &str, config: &Config) -> Vec<Finding> {
    let whole = finding("ok", file.to_owned(), format!("{} resources", config.rules.len()), "");
    let sizes = config.rules.iter().map(|rule| {
        let evidence = format!("{} of the {MAX_LIST_BYTES} bytes that the kubelet reads", size(rule));
        finding("ok", format!("{file}: {}", rule.naming), evidence, "")
    });
    std::iter::once(whole).chain(sizes).collect()
}

/// What is certain without a node: how long the list is of literal paths, else what each device adds to it.
fn size(rule: &Rule) -> String {
    let count = rule.sharing.least_replicas();
    let literals: Option<Vec<_>> = match &rule.selector {
        Selector::Path(patterns) => {
            patterns.iter().map(|pattern| pattern.is_literal().then(|| pattern.to_string())).collect()
        }
        Selector::Criteria(..) => None,
    };
    match literals {
        Some(paths) => {
            let bytes =
                paths.iter().map(|path| limits::listed_size(path.trim_start_matches("/dev/"), None, count));
            format!("its list takes {}", bytes.sum::<usize>())
        }
        None => format!("its list takes at least {} per device", limits::least_list_size(1, count)),
    }
}

fn finding(severity: &'static str, object: String, evidence: String, fix: &str) -> Finding {
    Finding { check: "device-plugin-config", severity, object, evidence, fix: fix.to_owned() }
}
