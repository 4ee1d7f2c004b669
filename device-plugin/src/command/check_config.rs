//! `check-config`: every problem of a config file.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::CheckConfigArgs;
use crate::config::{Config, ConfigError};
use crate::error::chain;

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
    let finding = |severity, object: String, evidence: String, fix: &str| Finding {
        check: "device-plugin-config",
        severity,
        object,
        evidence,
        fix: fix.to_owned(),
    };
    match outcome {
        Ok(config) => {
            vec![finding("ok", file.to_string(), format!("{} resources", config.rules.len()), "")]
        }
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
