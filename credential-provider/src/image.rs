//! Image references as container tools write them, and the normalised repository that the kubelet sends.
//!
//! The grammar and the Docker Hub defaults are those of `github.com/distribution/reference`, with which
//! the kubelet normalises an image before it asks: `nginx` is `docker.io/library/nginx`.

use std::fmt;

use thiserror::Error;

use crate::endpoint::{Endpoint, EndpointError};

/// Docker Hub, as the kubelet names it.
pub const DOCKER_HUB: &str = "docker.io";
/// The name that Docker's own configuration still uses for it.
pub const DOCKER_HUB_INDEX: &str = "index.docker.io";

/// Longest path of a repository that a registry accepts, in bytes.
const LONGEST_PATH: usize = 255;
/// A bound for what is looked at at all: the longest host, path, tag and digest together are shorter.
const LONGEST_REFERENCE: usize = 1024;

/// A valid image reference, normalised; tag and digest are checked and left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    repository: String,
    registry_length: usize,
    endpoint: Endpoint,
}

/// Why a text is no image reference.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Nothing there.
    #[error("the image reference is empty")]
    Empty,
    /// Longer than any registry takes.
    #[error("the image reference has {length} bytes, more than the {limit} that are valid")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Sixty-four hexadecimal digits are an image id.
    #[error("{0:?} is an image id, not an image reference")]
    ImageId(String),
    /// A part does not follow the grammar.
    #[error("image reference {reference:?} has an invalid {part} {value:?}")]
    Part {
        /// The whole text.
        reference: String,
        /// Which part: `registry`, `repository path`, `tag` or `digest`.
        part: &'static str,
        /// The part as found.
        value: String,
    },
    /// The registry is no host name that credentials could be kept for.
    #[error("image reference {reference:?} names no usable registry")]
    Registry {
        /// The whole text.
        reference: String,
        /// What is wrong with it.
        source: EndpointError,
    },
}

impl ImageRef {
    /// Reads and normalises `text`.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        check_size(text)?;
        let (registry, remainder) = split_registry(text);
        let invalid = |part, value: &str| ImageError::Part {
            reference: text.to_owned(),
            part,
            value: value.to_owned(),
        };
        let (rest, digest) = split_optional(&remainder, '@');
        let (path, tag) = split_optional(rest, ':');
        if path.len() > LONGEST_PATH {
            return Err(ImageError::TooLong { length: path.len(), limit: LONGEST_PATH });
        }
        if !path.split('/').all(is_path_component) {
            return Err(invalid("repository path", path));
        }
        // A first component such as "a__b.c" is no host name, yet a valid path: accepted as such.
        if !is_registry(registry) && !is_path_component(registry) {
            return Err(invalid("registry", registry));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(invalid("tag", tag));
        }
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(invalid("digest", digest));
        }
        let repository = format!("{registry}/{path}");
        let endpoint = Endpoint::parse(&repository)
            .map_err(|source| ImageError::Registry { reference: text.to_owned(), source })?;
        Ok(Self { registry_length: registry.len(), repository, endpoint })
    }

    /// The registry, with its port if one is written: `registry.example.com:5000`.
    pub fn registry(&self) -> &str {
        self.repository.get(..self.registry_length).unwrap_or_default()
    }

    /// Registry and path, what the kubelet sends: `docker.io/library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The endpoint that patterns and keys are held against.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)
    }
}

fn check_size(text: &str) -> Result<(), ImageError> {
    match text.len() {
        0 => Err(ImageError::Empty),
        64 if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
            Err(ImageError::ImageId(text.to_owned()))
        }
        length if length > LONGEST_REFERENCE => Err(ImageError::TooLong { length, limit: LONGEST_REFERENCE }),
        _ => Ok(()),
    }
}

/// Registry and the rest, with the defaults of Docker Hub filled in.
fn split_registry(text: &str) -> (&str, String) {
    let is_host = |first: &str| {
        first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
    };
    let (registry, rest) = match text.split_once('/') {
        Some((first, rest)) if first == DOCKER_HUB_INDEX => (DOCKER_HUB, rest),
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (DOCKER_HUB, text),
    };
    let official = registry == DOCKER_HUB && !rest.contains('/');
    (registry, if official { format!("library/{rest}") } else { rest.to_owned() })
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// `host` or `host:port`; the host a domain name, an IPv4 or a bracketed IPv6 address.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, port)) if is_address(address) => ("ip", port),
        _ => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    port_is_valid && host.split('.').all(is_domain_component)
}

fn is_address(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

fn is_domain_component(text: &str) -> bool {
    let inner = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

/// Lower-case words joined by a dot, one or two underscores, or any number of dashes.
fn is_path_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints = text.split(is_word).filter(|joint| !joint.is_empty());
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && joints
            .into_iter()
            .all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

/// One of the three algorithms in use, with as many digits as it has.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    digits.len() == length && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ImageError, ImageRef};

    fn repository(text: &str) -> Option<String> {
        ImageRef::parse(text).ok().map(|image| image.repository().to_owned())
    }

    #[test]
    fn names_are_normalised_as_the_kubelet_does() {
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx"),
            ("team/app:1", "docker.io/team/app"),
            ("index.docker.io/team/app", "docker.io/team/app"),
            ("localhost/app", "localhost/app"),
            ("registry:5000/app@sha256:0", ""),
            ("registry:5000/a/b", "registry:5000/a/b"),
            ("Registry/app", "Registry/app"),
        ] {
            assert_eq!(repository(text).unwrap_or_default(), expected, "{text}");
        }
    }

    #[test]
    fn an_error_names_the_part_and_its_value() {
        let error = ImageRef::parse("registry.example.com/Team/app").unwrap_err();
        assert!(
            matches!(&error, ImageError::Part { part: "repository path", value, .. } if value == "Team/app")
        );
        let error = ImageRef::parse(&"a/".repeat(600)).unwrap_err();
        assert!(matches!(error, ImageError::TooLong { length: 1200, limit: 1024 }));
    }

    proptest! {
        #[test]
        fn what_the_kubelet_sends_is_left_as_it_is(text in "([a-zA-Z0-9.-]{1,8}(:[0-9]{1,4})?/)?[a-z0-9_.-]{1,8}(/[a-z0-9]{1,4}){0,2}") {
            if let Ok(image) = ImageRef::parse(&text) {
                let again = ImageRef::parse(image.repository()).expect("a normalised name is a name");
                prop_assert_eq!(&again, &image);
                prop_assert!(image.repository().starts_with(image.registry()));
            }
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,40}") {
            let _either = ImageRef::parse(&text);
        }
    }
}
