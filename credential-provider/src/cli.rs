//! The command line. Parsed by hand, because this program starts once per image pull.

mod help;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

pub use help::HELP;

use crate::config;
use crate::kubelet::platform::Platform;
use crate::kubelet::version::Version;

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The verb.
    pub command: Command,
    /// Our configuration file.
    pub config: PathBuf,
}

/// A service account's token, from a person.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// The file that holds it.
    pub file: PathBuf,
    /// The annotations that the kubelet would add.
    pub annotations: BTreeMap<String, String>,
}

/// The kubelet's own configuration, which is to fit ours.
#[derive(Debug, PartialEq, Eq)]
pub struct KubeletFile {
    /// Its `--image-credential-provider-config`: a file or a folder.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
    /// Its `--image-credential-provider-bin-dir`, if that is to be looked at.
    pub bin_dir: Option<PathBuf>,
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
        /// But not in what it names.
        no_files: bool,
        /// And in the kubelet's.
        kubelet: Option<KubeletFile>,
    },
    /// Tell what would be answered for an image, and how.
    Explain {
        /// The image.
        image: String,
        /// In whose name.
        token: Option<Token>,
        /// And which of the kubelet's entries ask about it.
        kubelet: Option<KubeletFile>,
        /// As JSON.
        json: bool,
    },
    /// Go the whole way for an image, and show no secret.
    Get {
        /// The image.
        image: String,
        /// In whose name.
        token: Option<Token>,
    },
    /// Try every identity.
    Doctor {
        /// Only those for this image.
        image: Option<String>,
        /// In whose name.
        token: Option<Token>,
        /// As JSON.
        json: bool,
    },
    /// List what is kept between two pulls.
    CacheLs {
        /// As JSON.
        json: bool,
    },
    /// Forget what is kept between two pulls.
    CacheClear,
    /// Print the kubelet's `CredentialProviderConfig`.
    KubeletConfig {
        /// The kubelet's `--image-credential-provider-bin-dir`.
        bin_dir: Option<PathBuf>,
        /// The kubelet's.
        version: Version,
        /// Where it runs.
        platform: &'static Platform,
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
    /// An annotation without a value.
    #[error("--annotation {0:?} is not of the form key=value")]
    Annotation(String),
    /// A value that means nothing.
    #[error("{option} {given:?} is not known; write {choices}")]
    Value {
        /// The option.
        option: &'static str,
        /// As written.
        given: String,
        /// What could be written.
        choices: String,
    },
    /// Annotations of nobody.
    #[error("--annotation belongs to a service account: give its --token too")]
    NoToken,
    /// A request to show secrets.
    #[error("get shows no secrets: add --redact; the kubelet gets them on stdin and stdout")]
    NoRedact,
}

/// The arguments, sorted but not yet judged. Each option is taken by the verb that it belongs to.
#[derive(Default)]
struct Arguments {
    config: Option<PathBuf>,
    bin_dir: Option<PathBuf>,
    kubelet_config: Option<PathBuf>,
    kubelet_version: Option<Version>,
    platform: Option<&'static Platform>,
    token: Option<PathBuf>,
    annotations: BTreeMap<String, String>,
    json: bool,
    no_files: bool,
    redact: bool,
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
            "--kubelet-config" => given.kubelet_config = Some(value("--kubelet-config")?.into()),
            "--kubelet-version" => {
                given.kubelet_version = Some(version(&value("--kubelet-version")?.to_string_lossy())?);
            }
            "--platform" => given.platform = Some(platform(&value("--platform")?.to_string_lossy())?),
            "--token" => given.token = Some(value("--token")?.into()),
            "--annotation" => given.annotate(&value("--annotation")?.to_string_lossy())?,
            "--json" => given.json = true,
            "--no-files" => given.no_files = true,
            "--redact" => given.redact = true,
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

fn version(text: &str) -> Result<Version, UsageError> {
    let unknown = || UsageError::Value {
        option: "--kubelet-version",
        given: text.to_owned(),
        choices: format!("a release such as {}", Version::NEWEST),
    };
    Version::parse(text).ok_or_else(unknown)
}

fn platform(text: &str) -> Result<&'static Platform, UsageError> {
    let unknown = || UsageError::Value {
        option: "--platform",
        given: text.to_owned(),
        choices: format!("one of {}", Platform::names()),
    };
    Platform::named(text).ok_or_else(unknown)
}

impl Arguments {
    fn annotate(&mut self, text: &str) -> Result<(), UsageError> {
        let (key, value) = text.split_once('=').ok_or_else(|| UsageError::Annotation(text.to_owned()))?;
        self.annotations.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn judge(mut self) -> Result<Invocation, UsageError> {
        let words = std::mem::take(&mut self.words);
        let mut words = words.iter().map(String::as_str);
        let config = self.config.take().unwrap_or_else(|| config::DEFAULT_PATH.into());
        let (name, command) = self.command(&mut words)?;
        if let Some(surplus) = words.next() {
            return Err(UsageError::Unknown(surplus.to_owned()));
        }
        match self.left() {
            Some(option) => Err(UsageError::Misplaced { option, command: name }),
            None => Ok(Invocation { command, config }),
        }
    }

    fn command<'w>(
        &mut self,
        words: &mut impl Iterator<Item = &'w str>,
    ) -> Result<(&'static str, Command), UsageError> {
        let verb = words.next();
        let mut image = |verb| words.next().map(str::to_owned).ok_or(UsageError::MissingValue(verb));
        Ok(match verb {
            None => ("an answer to the kubelet", Command::Answer),
            Some("check-config") => {
                let (kubelet, no_files) = (self.kubelet_file(), std::mem::take(&mut self.no_files));
                ("check-config", Command::CheckConfig { json: self.json(), no_files, kubelet })
            }
            Some("explain") => {
                let (image, token) = (image("explain")?, self.token()?);
                let kubelet = self.kubelet_file();
                ("explain", Command::Explain { image, token, kubelet, json: self.json() })
            }
            Some("get") => {
                let (image, token) = (image("get")?, self.token()?);
                if !std::mem::take(&mut self.redact) {
                    return Err(UsageError::NoRedact);
                }
                ("get", Command::Get { image, token })
            }
            Some("doctor") => {
                let image = words.next().map(str::to_owned);
                ("doctor", Command::Doctor { image, token: self.token()?, json: self.json() })
            }
            Some("cache") => match words.next() {
                Some("ls") => ("cache ls", Command::CacheLs { json: self.json() }),
                Some("clear") => ("cache clear", Command::CacheClear),
                Some(other) => return Err(UsageError::Unknown(other.to_owned())),
                None => return Err(UsageError::MissingValue("cache")),
            },
            Some("kubelet-config") => {
                let version = self.kubelet_version.take().unwrap_or(Version::NEWEST);
                let platform = self.platform.take().unwrap_or(Platform::plain());
                let bin_dir = self.bin_dir.take();
                ("kubelet-config", Command::KubeletConfig { bin_dir, version, platform })
            }
            Some(other) => return Err(UsageError::Unknown(other.to_owned())),
        })
    }

    fn json(&mut self) -> bool {
        std::mem::take(&mut self.json)
    }

    fn kubelet_file(&mut self) -> Option<KubeletFile> {
        let path = self.kubelet_config.take()?;
        let version = self.kubelet_version.take().unwrap_or(Version::NEWEST);
        Some(KubeletFile { path, version, bin_dir: self.bin_dir.take() })
    }

    fn token(&mut self) -> Result<Option<Token>, UsageError> {
        let annotations = std::mem::take(&mut self.annotations);
        match self.token.take() {
            Some(file) => Ok(Some(Token { file, annotations })),
            None if annotations.is_empty() => Ok(None),
            None => Err(UsageError::NoToken),
        }
    }

    /// An option that the verb has not taken.
    fn left(&self) -> Option<&'static str> {
        let given = [
            (self.json, "--json"),
            (self.no_files, "--no-files"),
            (self.bin_dir.is_some(), "--bin-dir"),
            (self.kubelet_config.is_some(), "--kubelet-config"),
            (self.kubelet_version.is_some(), "--kubelet-version"),
            (self.platform.is_some(), "--platform"),
            (self.token.is_some(), "--token"),
            (!self.annotations.is_empty(), "--annotation"),
            (self.redact, "--redact"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, option)| option)
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, KubeletFile, Platform, UsageError, Version, parse};
    use crate::config::DEFAULT_PATH;

    fn given(words: &[&str]) -> Result<(Command, String), UsageError> {
        let invocation = parse(words.iter().map(Into::into))?;
        Ok((invocation.command, invocation.config.display().to_string()))
    }

    #[test]
    fn commands_are_read_with_options_before_or_after() {
        let default = || DEFAULT_PATH.to_owned();
        let explain = |json| Command::Explain { image: "nginx".into(), token: None, kubelet: None, json };
        assert_eq!(given(&[]), Ok((Command::Answer, default())));
        assert_eq!(given(&["--config", "/x"]), Ok((Command::Answer, "/x".into())));
        assert_eq!(given(&["--config=/x=y"]), Ok((Command::Answer, "/x=y".into())));
        assert_eq!(given(&["--json", "explain", "nginx"]), Ok((explain(true), default())));
        assert_eq!(given(&["explain", "nginx", "--config", "/x"]), Ok((explain(false), "/x".into())));
        assert_eq!(
            given(&["check-config"]),
            Ok((Command::CheckConfig { json: false, no_files: false, kubelet: None }, default()))
        );
        assert_eq!(
            given(&["check-config", "--no-files"]),
            Ok((Command::CheckConfig { json: false, no_files: true, kubelet: None }, default()))
        );
        let bin_dir = Some("/b".into());
        let (version, platform) = (Version::NEWEST, Platform::plain());
        assert_eq!(
            given(&["kubelet-config", "--bin-dir", "/b"]),
            Ok((Command::KubeletConfig { bin_dir, version, platform }, default()))
        );
        let path = "/k".into();
        let kubelet = Some(KubeletFile { path, version, bin_dir: None });
        assert_eq!(
            given(&["explain", "nginx", "--kubelet-config", "/k"]),
            Ok((Command::Explain { image: "nginx".into(), token: None, kubelet, json: false }, default()))
        );
        assert_eq!(given(&["explain", "--help"]), Ok((Command::Help, default())));
    }

    #[test]
    fn a_wrong_command_line_is_named() {
        assert_eq!(given(&["--config"]), Err(UsageError::MissingValue("--config")));
        assert_eq!(given(&["explain"]), Err(UsageError::MissingValue("explain")));
        assert_eq!(given(&["explain", "a", "b"]), Err(UsageError::Unknown("b".into())));
        assert_eq!(given(&["get"]), Err(UsageError::MissingValue("get")));
        assert_eq!(given(&["get", "nginx"]), Err(UsageError::NoRedact));
        assert_eq!(given(&["cache", "rm"]), Err(UsageError::Unknown("rm".into())));
        assert_eq!(given(&["explain", "nginx", "--annotation", "a=b"]), Err(UsageError::NoToken));
        assert_eq!(given(&["--jsno"]), Err(UsageError::Unknown("--jsno".into())));
        assert!(matches!(given(&["--json"]), Err(UsageError::Misplaced { option: "--json", .. })));
        assert!(matches!(given(&["explain", "a", "--no-files"]), Err(UsageError::Misplaced { .. })));
        assert!(matches!(given(&["explain", "a", "--bin-dir=/b"]), Err(UsageError::Misplaced { .. })));
        assert!(matches!(
            given(&["get", "a", "--redact", "--kubelet-config=/k"]),
            Err(UsageError::Misplaced { .. })
        ));
    }
}
