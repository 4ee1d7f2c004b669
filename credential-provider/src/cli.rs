//! The command line. Parsed by hand, because this program starts once per image pull.

use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

use crate::config;

/// What `--help` prints.
pub const HELP: &str = "\
tripod-credential-provider: gives the kubelet user name and password for private image registries.

The kubelet runs this program at each pull of an image that matches, with a CredentialProviderRequest on
stdin, and reads the credentials from stdout. People use the commands below.

usage:
  tripod-credential-provider [--config FILE]                        answer the request on stdin
  tripod-credential-provider check-config [--json] [--config FILE]  look for mistakes, exit 1 if there are any
  tripod-credential-provider explain IMAGE [--json] [--config FILE]
                                                                    what would be answered for IMAGE, and why;
                                                                    shows no secret
  tripod-credential-provider kubelet-config [--bin-dir DIR] [--config FILE]
                                                                    print the kubelet's side of the wiring

options:
  --config FILE   our configuration, by default /etc/tripod/credential-provider.yaml
  --bin-dir DIR   where the kubelet finds this program, by default the folder it lies in
  --json          [{check, severity: ok|warn|fail, object, evidence, fix}] instead of text
  --help, --version

configuration:
  version: v1
  registries:
    - match: [\"registry.example.com\", \"*.example.net:5000\"]
      provider: docker-config
      file: /etc/tripod/registry-auth.json
      onError: fail

  match     as the kubelet's matchImages: \"*\" stands for one part of the host name between dots, the port must
            be equal, a path is a prefix (\"registry.example.com/team/\"). The first entry that matches answers.
  provider  docker-config: user name and password from the auths of a Docker config.json
  onError   fail (default), or anonymous: pull without credentials when they cannot be had

The file is read at each pull; a change needs no restart of the kubelet. A new registry in `match` does need
one, because the kubelet reads its own list (see kubelet-config) only when it starts.
";

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The verb.
    pub command: Command,
    /// Our configuration file.
    pub config: PathBuf,
}

/// The verbs.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Answer the kubelet.
    Answer,
    /// Look for mistakes in the configuration and the files it names.
    CheckConfig {
        /// As JSON.
        json: bool,
    },
    /// Tell what would be answered for an image.
    Explain {
        /// The image.
        image: String,
        /// As JSON.
        json: bool,
    },
    /// Print the kubelet's `CredentialProviderConfig`.
    KubeletConfig {
        /// The kubelet's `--image-credential-provider-bin-dir`.
        bin_dir: Option<PathBuf>,
    },
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// Why a command line is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UsageError {
    /// An argument that no command has.
    #[error("argument {0:?} is not known")]
    Unknown(String),
    /// An option of another command.
    #[error("option {option} does not go with {command}")]
    Misplaced {
        /// The option.
        option: &'static str,
        /// The command given.
        command: &'static str,
    },
    /// An option without its value, or `explain` without an image.
    #[error("{0} needs a value after it")]
    MissingValue(&'static str),
}

/// The arguments, sorted but not yet judged.
#[derive(Default)]
struct Arguments {
    config: Option<PathBuf>,
    bin_dir: Option<PathBuf>,
    json: bool,
    words: Vec<String>,
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut given = Arguments::default();
    let mut left = arguments.into_iter();
    while let Some(argument) = left.next() {
        let text = argument.to_string_lossy();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
            _ => (text.as_ref(), None),
        };
        let mut value =
            |option| inline.clone().or_else(|| left.next()).ok_or(UsageError::MissingValue(option));
        match name {
            "--config" => given.config = Some(value("--config")?.into()),
            "--bin-dir" => given.bin_dir = Some(value("--bin-dir")?.into()),
            "--json" => given.json = true,
            "--help" | "-h" | "help" => return Ok(plain(Command::Help)),
            "--version" | "-V" => return Ok(plain(Command::Version)),
            _ if name.starts_with('-') => return Err(UsageError::Unknown(text.into_owned())),
            _ => given.words.push(text.into_owned()),
        }
    }
    given.judge()
}

fn plain(command: Command) -> Invocation {
    Invocation { command, config: config::DEFAULT_PATH.into() }
}

impl Arguments {
    fn judge(self) -> Result<Invocation, UsageError> {
        let mut words = self.words.into_iter();
        let (name, command) = match words.next().as_deref() {
            None => ("an answer to the kubelet", Command::Answer),
            Some("check-config") => ("check-config", Command::CheckConfig { json: self.json }),
            Some("explain") => {
                let image = words.next().ok_or(UsageError::MissingValue("explain"))?;
                ("explain", Command::Explain { image, json: self.json })
            }
            Some("kubelet-config") => {
                ("kubelet-config", Command::KubeletConfig { bin_dir: self.bin_dir.clone() })
            }
            Some(other) => return Err(UsageError::Unknown(other.to_owned())),
        };
        if let Some(surplus) = words.next() {
            return Err(UsageError::Unknown(surplus));
        }
        let takes_json = matches!(command, Command::CheckConfig { .. } | Command::Explain { .. });
        if self.json && !takes_json {
            return Err(UsageError::Misplaced { option: "--json", command: name });
        }
        if self.bin_dir.is_some() && !matches!(command, Command::KubeletConfig { .. }) {
            return Err(UsageError::Misplaced { option: "--bin-dir", command: name });
        }
        Ok(Invocation { command, config: self.config.unwrap_or_else(|| config::DEFAULT_PATH.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, UsageError, parse};
    use crate::config::DEFAULT_PATH;

    fn given(words: &[&str]) -> Result<(Command, String), UsageError> {
        let invocation = parse(words.iter().map(Into::into))?;
        Ok((invocation.command, invocation.config.display().to_string()))
    }

    #[test]
    fn commands_are_read_with_options_before_or_after() {
        let default = || DEFAULT_PATH.to_owned();
        let explain = |json| Command::Explain { image: "nginx".into(), json };
        assert_eq!(given(&[]), Ok((Command::Answer, default())));
        assert_eq!(given(&["--config", "/x"]), Ok((Command::Answer, "/x".into())));
        assert_eq!(given(&["--config=/x=y"]), Ok((Command::Answer, "/x=y".into())));
        assert_eq!(given(&["--json", "explain", "nginx"]), Ok((explain(true), default())));
        assert_eq!(given(&["explain", "nginx", "--config", "/x"]), Ok((explain(false), "/x".into())));
        assert_eq!(given(&["check-config"]), Ok((Command::CheckConfig { json: false }, default())));
        let bin_dir = Some("/b".into());
        assert_eq!(
            given(&["kubelet-config", "--bin-dir", "/b"]),
            Ok((Command::KubeletConfig { bin_dir }, default()))
        );
        assert_eq!(given(&["explain", "--help"]), Ok((Command::Help, default())));
    }

    #[test]
    fn a_wrong_command_line_is_named() {
        assert_eq!(given(&["--config"]), Err(UsageError::MissingValue("--config")));
        assert_eq!(given(&["explain"]), Err(UsageError::MissingValue("explain")));
        assert_eq!(given(&["explain", "a", "b"]), Err(UsageError::Unknown("b".into())));
        assert_eq!(given(&["get"]), Err(UsageError::Unknown("get".into())));
        assert_eq!(given(&["--jsno"]), Err(UsageError::Unknown("--jsno".into())));
        assert!(matches!(given(&["--json"]), Err(UsageError::Misplaced { option: "--json", .. })));
        assert!(matches!(given(&["explain", "a", "--bin-dir=/b"]), Err(UsageError::Misplaced { .. })));
    }
}
