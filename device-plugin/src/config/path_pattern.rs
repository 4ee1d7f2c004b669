//! Patterns of device node paths: one glob per path component.

use std::fmt;

use glob::{MatchOptions, Pattern};

const MAX_LENGTH: usize = 512;

/// `*` in place of a whole name must not reach hidden files, as in a shell.
const AS_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A checked pattern such as `/dev/ttyUSB*` or `/dev/serial/by-id/usb-FTDI_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    components: Vec<Component>,
}

/// One name, or names, in a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// Exactly this name.
    Literal(String),
    /// Every name the glob matches.
    Glob(Pattern),
}

/// Why a text is no path pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// Only device nodes are offered, and those live in `/dev`.
    #[error("must begin with /dev/ and name something in it")]
    NotBelowDev,
    /// The pattern is too long to be a path.
    #[error("is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// The pattern would leave `/dev` or has an empty name in it.
    #[error("must not contain empty names, `.` or `..`")]
    BadComponent,
    /// `**` would walk all of `/dev` at each scan.
    #[error("must not contain `**`: name the folders one by one")]
    Recursive,
    /// A malformed glob.
    #[error("is a malformed glob: {0}")]
    Glob(&'static str),
}

impl PathPattern {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<PathPattern, PathPatternError> {
        if text.len() > MAX_LENGTH {
            return Err(PathPatternError::TooLong);
        }
        let below_dev = text.strip_prefix("/dev/").filter(|rest| !rest.is_empty());
        let names = below_dev.ok_or(PathPatternError::NotBelowDev)?.split('/');
        let components = std::iter::once("dev").chain(names).map(component).collect::<Result<_, _>>()?;
        Ok(PathPattern { text: text.to_owned(), components })
    }

    /// The names of the path, from the root.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Whether the pattern is one path, not several.
    pub fn is_literal(&self) -> bool {
        self.components.iter().all(|c| matches!(c, Component::Literal(_)))
    }

    /// Whether the absolute `path` is one this pattern names.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<_> = path.split('/').skip(1).collect();
        names.len() == self.components.len()
            && names.iter().zip(&self.components).all(|(name, component)| component.matches(name))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Component {
    /// Whether `name` is one this component names.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Component::Literal(literal) => literal == name,
            Component::Glob(pattern) => pattern.matches_with(name, AS_A_SHELL),
        }
    }
}

fn component(name: &str) -> Result<Component, PathPatternError> {
    match name {
        "" | "." | ".." => Err(PathPatternError::BadComponent),
        _ if name.contains("**") => Err(PathPatternError::Recursive),
        _ if name.contains(['*', '?', '[']) => {
            Pattern::new(name).map(Component::Glob).map_err(|error| PathPatternError::Glob(error.msg))
        }
        _ => Ok(Component::Literal(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_name_by_name() {
        let cases = [
            ("/dev/ttyUSB*", "/dev/ttyUSB0", true),
            ("/dev/ttyUSB*", "/dev/ttyACM0", false),
            ("/dev/*", "/dev/serial/by-id", false),
            ("/dev/*", "/dev/.udev", false),
            ("/dev/bus/usb/*/00[12]", "/dev/bus/usb/001/002", true),
            ("/dev/kvm", "/dev/kvm", true),
            ("/dev/kvm", "/dev/kvm2", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), expected, "{pattern} and {path}");
        }
    }

    #[test]
    fn a_pattern_that_could_leave_dev_or_walk_it_all_is_refused() {
        let cases = [
            ("ttyUSB0", PathPatternError::NotBelowDev),
            ("/sys/x", PathPatternError::NotBelowDev),
            ("/dev/", PathPatternError::NotBelowDev),
            ("/dev/../etc/passwd", PathPatternError::BadComponent),
            ("/dev//x", PathPatternError::BadComponent),
            ("/dev/x/", PathPatternError::BadComponent),
            ("/dev/**", PathPatternError::Recursive),
        ];
        for (text, error) in cases {
            assert_eq!(PathPattern::parse(text), Err(error), "{text}");
        }
        assert!(matches!(PathPattern::parse("/dev/a[b"), Err(PathPatternError::Glob(_))));
        assert_eq!(PathPattern::parse(&format!("/dev/{}", "x".repeat(600))), Err(PathPatternError::TooLong));
    }
}
