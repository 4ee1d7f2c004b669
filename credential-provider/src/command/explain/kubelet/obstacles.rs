//! What keeps an entry of the kubelet's that matches from being answered as our configuration says.

use std::path::{Path, PathBuf};

use super::{CHECK, Question};
use crate::cli::{self, Command, Invocation};
use crate::command::kubelet_files::Entry;
use crate::kubelet::entries::{self, Token};
use crate::kubelet::version::Version;
use crate::report::Finding;

/// Those of `asking`, the entries that start this program for the image.
pub(super) fn find(asking: &[&Entry], question: &Question<'_>, version: Version) -> Vec<Finding> {
    let mut findings: Vec<_> = asking.iter().flat_map(|entry| of_start(entry, question)).collect();
    let Some(registry) = question.registry.filter(|_| !asking.is_empty()) else { return findings };
    match entries::token(registry) {
        Ok(token) => {
            if let Some(token) = token.filter(|_| version.knows_tokens()) {
                findings.extend(of_tokens(asking, &token));
            }
        }
        Err(error) => {
            let object = format!("{}:{}", registry.file.display(), registry.line);
            findings.push(Finding::fail(CHECK, object, error.to_string()).fix("add tokenAudience to it"));
        }
    }
    findings
}

/// With what it is started, and for whom not.
fn of_start(entry: &Entry, question: &Question<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match started_with(&entry.provider.args) {
        Ok(config) if is_same(&config, question.config) => {}
        Ok(config) => {
            let evidence = format!("it is answered by {config:?}, and {:?} is explained", question.config);
            let fix = format!("explain it with --config {}, or correct args", config.display());
            findings.push(Finding::warn(CHECK, entry.place(), evidence).fix(fix));
        }
        Err(why) => {
            let fix = "correct args: [\"--config\", FILE], or leave them out";
            findings.push(Finding::fail(CHECK, entry.place(), why).fix(fix));
        }
    }
    let required = entry.provider.token.as_ref().map(|token| token.required.as_slice()).unwrap_or_default();
    if let Some(account) = question.account {
        for key in required.iter().filter(|key| !account.annotations.contains_key(*key)) {
            let evidence = format!("it is not asked: the service account has no annotation {key:?}");
            let fix = "annotate the service account, or make the key an optional one";
            findings.push(Finding::fail(CHECK, entry.place(), evidence).fix(fix));
        }
    }
    findings
}

/// The configuration that this program takes when it is started with `args`.
fn started_with(args: &[String]) -> Result<PathBuf, String> {
    match cli::parse(args.iter().map(Into::into)) {
        Ok(Invocation { command: Command::Answer, config }) => Ok(config),
        Ok(_) => Err(format!("with args {args:?} this program does not answer the kubelet")),
        Err(error) => Err(format!("this program refuses args {args:?}: {error}")),
    }
}

/// Whether both paths lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    one == other || real(one) == real(other)
}

/// One entry that passes the right tokens is enough; a pull logs an error for each of the others.
fn of_tokens(asking: &[&Entry], token: &Token) -> Vec<Finding> {
    let wrong: Vec<_> = asking.iter().filter_map(|entry| Some((*entry, mismatch(entry, token)?))).collect();
    let found = if wrong.len() < asking.len() { Finding::warn } else { Finding::fail };
    let finding =
        |(entry, (evidence, fix)): (&Entry, (String, String))| found(CHECK, entry.place(), evidence).fix(fix);
    wrong.into_iter().map(finding).collect()
}

/// What is wrong with the tokens of `entry`, and what to write.
fn mismatch(entry: &Entry, token: &Token) -> Option<(String, String)> {
    let Token { audience, passed_on, required, .. } = token;
    let attributes =
        "write tokenAttributes as kubelet-config prints them, and restart the kubelet".to_owned();
    match &entry.provider.token {
        None if *required => {
            Some((format!("it passes no pod's token, and one for {audience:?} is needed"), attributes))
        }
        Some(own) if own.audience != *audience => {
            let evidence =
                format!("it passes a token for {:?}, and one for {audience:?} is needed", own.audience);
            Some((evidence, attributes))
        }
        // The kubelet refuses a password that is the token, where it is to be for all of the service account.
        Some(own) if *passed_on && own.cache_type.as_deref() == Some("ServiceAccount") => {
            let evidence =
                "the token becomes the password, which the kubelet refuses with cacheType ServiceAccount";
            Some((evidence.to_owned(), "write cacheType: Token, and restart the kubelet".to_owned()))
        }
        _ => None,
    }
}
