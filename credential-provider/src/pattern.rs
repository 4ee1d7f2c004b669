//! An entry of a `match` list: which images a registry entry answers for, in the words of the kubelet's
//! `matchImages`.
//!
//! The kubelet accepts patterns that can never match and says nothing. Here they are errors, so that a
//! pattern which was accepted means what it says.

use thiserror::Error;

use crate::endpoint::{Endpoint, EndpointError};
use crate::image::{DOCKER_HUB, DOCKER_HUB_INDEX, ImageRef};

/// A pattern that some image matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    endpoint: Endpoint,
}

/// Why a pattern is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing there.
    #[error("it is empty; write a registry such as \"registry.example.com\" or \"*.example.com\"")]
    Empty,
    /// A URL instead of a registry.
    #[error("it begins with a scheme; write the registry alone, without \"https://\"")]
    Scheme,
    /// Docker Hub under its other name.
    #[error("no image has this registry: the kubelet asks for Docker Hub as {DOCKER_HUB:?}; write that")]
    HubIndex,
    /// `host/*` and its like.
    #[error("a glob in the path can never match: the path is a plain prefix; leave {0:?} out")]
    PathGlob(char),
    /// A question mark or bracket in the host.
    #[error(
        "{0:?} does not reach the kubelet's matcher, which reads patterns as URLs; the only glob is \"*\""
    )]
    HostGlob(char),
    /// A character that no host name has.
    #[error("it can never match: no registry has {0:?} in its name")]
    HostCharacter(char),
    /// Two dots in a row, or one at an end.
    #[error("it can never match: a part of the host name between dots is empty")]
    EmptyLabel,
    /// A character that no repository path has; a colon begins a tag, which is not part of what is matched.
    #[error("it can never match: {0:?} is in no repository path, and tag and digest are not matched")]
    PathCharacter(char),
    /// Two slashes in a row.
    #[error("it can never match: no repository path has an empty part")]
    EmptySegment,
    /// The kubelet would refuse it.
    #[error("the kubelet cannot read it")]
    Endpoint(#[from] EndpointError),
}

impl Pattern {
    /// Reads a pattern and refuses what no image could match.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.contains("://") {
            return Err(PatternError::Scheme);
        }
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        check_host(authority)?;
        check_path(path)?;
        Ok(Self { text: text.to_owned(), endpoint: Endpoint::parse(text)? })
    }

    /// Whether `image` is one of those meant, by the kubelet's rules.
    pub fn matches(&self, image: &ImageRef) -> bool {
        self.endpoint.covers(image.endpoint())
    }

    /// Whether it picks some repositories of `image`'s registry and not others.
    pub fn splits_registry_of(&self, image: &ImageRef) -> bool {
        self.has_path() && self.endpoint.covers_host(image.endpoint())
    }

    /// Whether it names more than a host.
    pub fn has_path(&self) -> bool {
        self.endpoint.path().len() > 1
    }

    /// Whether the path also lets in repositories that only begin like it: `/team` lets in `/team-b`.
    pub fn ends_within_segment(&self) -> bool {
        self.has_path() && !self.text.ends_with('/')
    }

    /// A repository that matches, if the pattern has no glob and so names one registry.
    pub fn example(&self) -> Option<String> {
        self.endpoint.is_literal().then(|| {
            let text = self.text.trim_end_matches('/');
            if self.ends_within_segment() { text.to_owned() } else { format!("{text}/image") }
        })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn check_host(authority: &str) -> Result<(), PatternError> {
    if authority == DOCKER_HUB_INDEX {
        return Err(PatternError::HubIndex);
    }
    if authority.starts_with('[') {
        return Ok(());
    }
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    if let Some(glob) = host.chars().find(|c| "?[]\\".contains(*c)) {
        return Err(PatternError::HostGlob(glob));
    }
    if let Some(found) = host.chars().find(|c| !c.is_ascii_alphanumeric() && !"*-_.".contains(*c)) {
        return Err(PatternError::HostCharacter(found));
    }
    if host.split('.').any(str::is_empty) { Err(PatternError::EmptyLabel) } else { Ok(()) }
}

fn check_path(path: &str) -> Result<(), PatternError> {
    if let Some(glob) = path.chars().find(|c| "*?[]".contains(*c)) {
        return Err(PatternError::PathGlob(glob));
    }
    let in_paths = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
    if let Some(found) = path.chars().find(|c| !in_paths(*c)) {
        return Err(PatternError::PathCharacter(found));
    }
    if path.contains("//") { Err(PatternError::EmptySegment) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, PatternError};
    use crate::image::ImageRef;

    #[test]
    fn patterns_that_can_never_match_are_refused_with_the_reason() {
        use PatternError as E;
        for (text, expected) in [
            ("", E::Empty),
            ("https://registry.example.com", E::Scheme),
            ("index.docker.io", E::HubIndex),
            ("index.docker.io/library", E::HubIndex),
            ("registry.example.com/*", E::PathGlob('*')),
            ("registry.example.com/team/?", E::PathGlob('?')),
            ("registry?.example.com", E::HostGlob('?')),
            ("registry[12].example.com", E::HostGlob('[')),
            ("user@registry.example.com", E::HostCharacter('@')),
            ("registry.example.com#x", E::HostCharacter('#')),
            ("r\u{e9}gistre.example.com", E::HostCharacter('\u{e9}')),
            ("registry..example.com", E::EmptyLabel),
            ("/team", E::EmptyLabel),
            ("registry.example.com/Team", E::PathCharacter('T')),
            ("registry.example.com/app:1.0", E::PathCharacter(':')),
            ("registry.example.com//app", E::EmptySegment),
        ] {
            assert_eq!(Pattern::parse(text), Err(expected), "{text:?}");
        }
        for text in ["registry.example.com:*", "registry:5000:1", "[::1", "[nonsense]:5000"] {
            assert!(matches!(Pattern::parse(text), Err(E::Endpoint(_))), "{text:?}");
        }
    }

    #[test]
    fn a_literal_pattern_gives_an_example_that_it_matches() {
        for text in
            ["registry.example.com", "localhost:5000", "docker.io/", "r.io/team", "r.io/team/", "[::1]:5000"]
        {
            let pattern = Pattern::parse(text).unwrap();
            let example = ImageRef::parse(&pattern.example().unwrap()).unwrap();
            assert!(pattern.matches(&example), "{text:?} does not match {example}");
        }
        assert_eq!(Pattern::parse("*.example.com").unwrap().example(), None);
    }
}
