//! The image credential provider: the kubelet executes it at each pull of an image that matches, asks on
//! stdin who the node is to the image's registry, and reads user name and password from stdout.
//!
//! It reads its configuration and the files named there, asks whom the configuration names, and keeps what
//! it was told on a tmpfs. stdout carries exactly one JSON document or nothing, stderr one line on failure;
//! no secret is ever in that line.

pub mod aws;
pub mod cache;
mod child;
pub mod claim;
pub mod cli;
pub mod command;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod file;
pub mod go_duration;
pub mod http;
pub mod image;
pub mod json;
pub mod kubelet;
mod moment;
pub mod pattern;
pub mod provider;
pub mod report;
pub mod secret;
pub mod service_account;
pub mod step;
pub mod telemetry;
pub mod wire;
pub mod yaml;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use claim::Asker;
use cli::{Command, Invocation, Token};
use command::Context;
use command::answer::Answer;
use command::check_config::{Scope, check_config};
use error::Error;
use provider::Variables;
use report::Finding;
use secret::{Secret, SecretBytes};
use service_account::{Claims, ServiceAccount};
use telemetry::Told;

/// Largest request that is read, in bytes. A service account token with all annotations an object may
/// have is a third of it.
const LARGEST_REQUEST: u64 = 1 << 20;

/// What the program was given by whoever started it.
pub struct Environment<'a> {
    /// The arguments after the program's name.
    pub arguments: Vec<OsString>,
    /// The request.
    pub stdin: &'a mut dyn Read,
    /// Whether a person sits at stdin.
    pub stdin_is_terminal: bool,
    /// The folder this program lies in.
    pub folder: PathBuf,
    /// When it started.
    pub start: Instant,
    /// The environment variables.
    pub variables: Variables,
}

/// What the program has to say.
#[derive(Debug)]
pub struct Outcome {
    /// For stdout, complete.
    pub stdout: SecretBytes,
    /// For stderr: nothing or one line, without its line break.
    pub stderr: String,
    /// Whether the exit code is 0.
    pub success: bool,
    /// What became of a question of the kubelet's.
    pub told: Option<Told>,
}

/// Does what the arguments ask for.
pub fn run(environment: Environment<'_>) -> Outcome {
    let mut told = None;
    let outcome = dispatch(environment, &mut told).unwrap_or_else(|error| {
        let stderr = complaint(&error);
        Outcome { stderr, success: false, ..text(String::new()) }
    });
    Outcome { told, ..outcome }
}

fn dispatch(environment: Environment<'_>, told: &mut Option<Told>) -> Result<Outcome, Error> {
    let Invocation { command, config } = cli::parse(environment.arguments)?;
    let Environment { start, variables, .. } = environment;
    let context = Context { start, now: SystemTime::now(), variables };
    match command {
        Command::Answer if environment.stdin_is_terminal => Err(Error::Terminal),
        Command::Answer => answer(environment.stdin, &config, &context, told.insert(Told::default())),
        Command::CheckConfig { json, no_files, kubelet } => {
            let scope = if no_files { Scope::Alone } else { Scope::Files };
            report(&check_config(&config, scope, kubelet.as_ref()), json)
        }
        Command::Explain { image, token, kubelet, json } => {
            let account = token.map(|token| service_account(&token)).transpose()?;
            let asker = Asker { service_account: account.as_ref(), variables: &context.variables };
            report(&command::explain::explain(&image, &config, asker, kubelet.as_ref())?, json)
        }
        Command::Get { image, token } => {
            let account = token.map(|token| service_account(&token)).transpose()?;
            Ok(given(command::get::get(&image, &config, account.as_ref(), &context)?))
        }
        Command::Doctor { image, token, json } => {
            let account = token.map(|token| service_account(&token)).transpose()?;
            report(&command::doctor::doctor(image.as_deref(), &config, account.as_ref(), &context)?, json)
        }
        Command::CacheLs { json } => Ok(text(command::cache::ls(&config, context.now, json)?)),
        Command::CacheClear => Ok(text(command::cache::clear(&config)?)),
        Command::KubeletConfig { bin_dir, version, platform } => {
            let usual = || platform.bin_dir.map_or(environment.folder, PathBuf::from);
            let bin_dir = bin_dir.unwrap_or_else(usual);
            Ok(text(command::kubelet_config::kubelet_config(&config, &bin_dir, version, platform)?))
        }
        Command::Help => Ok(text(cli::HELP.into())),
        Command::Version => {
            Ok(text(concat!("tripod-credential-provider ", env!("CARGO_PKG_VERSION"), "\n").into()))
        }
    }
}

/// The service account whose token, and annotations if need be, are those that a person gave.
fn service_account(Token { file, annotations }: &Token) -> Result<ServiceAccount, Error> {
    let loaded = file::load(file).map_err(Error::TokenFile)?;
    let text = String::from_utf8_lossy(loaded.bytes.expose().trim_ascii()).into_owned();
    let token = Secret::new(text);
    Claims::of(&token).map_err(|source| Error::Token { path: file.clone(), source })?;
    Ok(ServiceAccount { token, annotations: annotations.clone() })
}

fn answer(stdin: &mut dyn Read, config: &Path, context: &Context, told: &mut Told) -> Result<Outcome, Error> {
    let request = file::read_bounded(stdin, LARGEST_REQUEST)
        .map_err(Error::ReadRequest)?
        .ok_or(Error::RequestTooLarge { limit: LARGEST_REQUEST })?;
    Ok(given(command::answer::answer(request.expose(), config, context, told)?))
}

fn given(Answer { document, complaint: error }: Answer) -> Outcome {
    let stderr = error.as_ref().map(complaint).unwrap_or_default();
    Outcome { stdout: document, stderr, success: true, told: None }
}

fn report(findings: &[Finding], json: bool) -> Result<Outcome, Error> {
    let rendered = if json { report::render_json(findings)? } else { report::render_text(findings) };
    Ok(Outcome { success: !report::has_failure(findings), ..text(rendered) })
}

fn text(stdout: String) -> Outcome {
    Outcome {
        stdout: SecretBytes::new(stdout.into_bytes()),
        stderr: String::new(),
        success: true,
        told: None,
    }
}

fn complaint(error: &Error) -> String {
    format!("{}: {}", kubelet::entries::NAME, error::render(error))
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}
