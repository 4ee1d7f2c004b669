//! Shell globs as Go's `path/filepath.Match` reads them, for one label of a host name.
//!
//! `*` is any run of bytes, `?` one character, `[a-z]` and `[^a-z]` one character of a class, `\` takes the
//! next character literally. A malformed glob matches nothing. Labels never hold a `/`, so Go's rule
//! that a glob stops at one has no place here.

use std::ops::RangeInclusive;

/// One element of a glob.
#[derive(Debug, PartialEq, Eq)]
enum Term {
    Star,
    AnyChar,
    Class { negated: bool, ranges: Vec<RangeInclusive<char>> },
    Byte(u8),
}

/// Whether `glob` matches all of `name`.
pub(super) fn matches(glob: &[u8], name: &[u8]) -> bool {
    compile(glob).is_some_and(|terms| accepts(&terms, name))
}

fn compile(mut glob: &[u8]) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    while let Some((&byte, rest)) = glob.split_first() {
        let (term, rest) = match byte {
            b'*' => (Term::Star, rest),
            b'?' => (Term::AnyChar, rest),
            b'[' => class(rest)?,
            b'\\' => rest.split_first().map(|(&literal, rest)| (Term::Byte(literal), rest))?,
            literal => (Term::Byte(literal), rest),
        };
        terms.push(term);
        glob = rest;
    }
    Some(terms)
}

/// What follows a `[`, up to and with its `]`. An empty class is malformed.
fn class(glob: &[u8]) -> Option<(Term, &[u8])> {
    let (negated, mut rest) = match glob.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, glob),
    };
    let mut ranges = Vec::new();
    loop {
        if let (Some(rest), false) = (rest.strip_prefix(b"]"), ranges.is_empty()) {
            return Some((Term::Class { negated, ranges }, rest));
        }
        let (low, after) = class_char(rest)?;
        let (high, after) = match after.strip_prefix(b"-") {
            Some(after) => class_char(after)?,
            None => (low, after),
        };
        ranges.push(low..=high);
        rest = after;
    }
}

/// One bound of a class. It may be escaped, and is never the last character of a glob.
fn class_char(glob: &[u8]) -> Option<(char, &[u8])> {
    let glob = match glob.split_first()? {
        (b'-' | b']', _) => return None,
        (b'\\', rest) => rest,
        _ => glob,
    };
    let (character, rest) = split_char(glob)?;
    character.filter(|_| !rest.is_empty()).map(|character| (character, rest))
}

/// Splits off the first character; `None` stands for a byte that is not UTF-8.
fn split_char(bytes: &[u8]) -> Option<(Option<char>, &[u8])> {
    let first = bytes.utf8_chunks().next()?.valid().chars().next();
    Some((first, bytes.get(first.map_or(1, char::len_utf8)..)?))
}

/// Walks glob and name together; on a mismatch the latest `*` takes one byte more.
fn accepts(terms: &[Term], name: &[u8]) -> bool {
    let (mut todo, mut left) = (terms, name);
    let mut star: Option<(&[Term], &[u8])> = None;
    loop {
        match todo.split_first() {
            None if left.is_empty() => return true,
            Some((Term::Star, after)) => {
                star = Some((after, left));
                todo = after;
                continue;
            }
            Some((term, after)) => {
                if let Some(rest) = term.consume(left) {
                    (todo, left) = (after, rest);
                    continue;
                }
            }
            None => {}
        }
        let Some((after, from)) = star else { return false };
        let Some((_, shorter)) = from.split_first() else { return false };
        star = Some((after, shorter));
        (todo, left) = (after, shorter);
    }
}

impl Term {
    /// What is left of `name` once this term took its part from the front.
    fn consume<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        match self {
            Self::Star => Some(name),
            Self::Byte(byte) => name.split_first().filter(|(first, _)| *first == byte).map(|(_, rest)| rest),
            Self::AnyChar => split_char(name).map(|(_, rest)| rest),
            Self::Class { negated, ranges } => {
                let (character, rest) = split_char(name)?;
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                let listed = ranges.iter().any(|range| range.contains(&character));
                (listed != *negated).then_some(rest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_read_as_in_go() {
        for (glob, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*-good", "prefix-good", true),
            ("**a**b", "xaxxb", true),
            ("a?c", "abc", true),
            ("a?c", "a\u{e9}c", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(matches(glob.as_bytes(), name.as_bytes()), expected, "{glob:?} on {name:?}");
        }
    }

    #[test]
    fn a_malformed_glob_matches_nothing() {
        for glob in ["[", "[]", "[]a]", "[^]", "[a", "[a-", "[a-]", "[-a]", "\\", "a\\", "*[", "[a]["] {
            for name in ["", "a", "]", "[", "-"] {
                assert!(!matches(glob.as_bytes(), name.as_bytes()), "{glob:?} on {name:?}");
            }
        }
    }
}
