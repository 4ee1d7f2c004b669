//! The keys of one map of the configuration, taken one by one by who understands them. What nobody took is a
//! mistake.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::ValueProblem;
use super::findings::Findings;
use crate::go_duration;
use crate::yaml::{Node, Tree};

const TEXT: &str = "a text; put a number into quotation marks";
const TEXTS: &str = "a list of texts; put a number into quotation marks";
const TEXTS_BY_NAME: &str = "texts by name; put a number into quotation marks";

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// From 1.
    pub(crate) line: u64,
    pub(crate) value: T,
}

/// The keys of one map that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    /// Where the map begins.
    pub(crate) line: u64,
    path: String,
    left: Vec<(String, Tree)>,
    known: Vec<&'static str>,
    findings: &'a mut Findings,
}

impl<'a> Keys<'a> {
    /// Those of `tree`, which stands at `path`; none of something else than a map.
    pub(super) fn new(path: String, tree: Tree, findings: &'a mut Findings) -> Self {
        let left = match tree.node {
            Node::Map(pairs) => pairs,
            Node::Null => Vec::new(),
            Node::Text(_) | Node::Number | Node::Flag(_) | Node::List(_) => {
                findings.add(tree.line, path.clone(), ValueProblem::Shape("keys with values"));
                Vec::new()
            }
        };
        Self { line: tree.line, path, left, known: Vec::new(), findings }
    }

    /// Complains about the value of `key`.
    pub(crate) fn refuse(&mut self, line: u64, key: &str, problem: ValueProblem) {
        self.findings.add(line, format!("{}.{key}", self.path), problem);
    }

    /// Complains about what is left, and says what `owner` knows.
    pub(super) fn finish(mut self, owner: &str) {
        for (name, tree) in std::mem::take(&mut self.left) {
            let known = self.known.join(", ");
            let problem = ValueProblem::UnknownKey { owner: owner.to_owned(), known };
            self.refuse(tree.line, &name, problem);
        }
    }

    /// The names in the map at `key`, which stays for whoever understands it.
    pub(super) fn names_in(&self, key: &'static str) -> impl Iterator<Item = &str> {
        let found = self.left.iter().find(|(name, _)| name == key);
        let pairs = found.and_then(|(_, tree)| match &tree.node {
            Node::Map(pairs) => Some(pairs),
            _ => None,
        });
        pairs.into_iter().flatten().map(|(name, _)| name.as_str())
    }

    fn take(&mut self, key: &'static str) -> Option<Tree> {
        self.known.push(key);
        let index = self.left.iter().position(|(name, tree)| name == key && !matches!(tree.node, Node::Null));
        index.map(|index| self.left.remove(index).1)
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let Tree { line, node } = self.take(key)?;
        let text = text_of(node).filter(|text| !text.is_empty());
        if text.is_none() {
            self.refuse(line, key, ValueProblem::Shape(TEXT));
        }
        text.map(|value| At { line, value })
    }

    /// A text without which the rest means nothing; `needs` says what to write.
    pub(crate) fn needed(&mut self, key: &'static str, needs: &'static str) -> Option<At<String>> {
        let is_there = self.left.iter().any(|(name, _)| name == key);
        let text = self.text(key);
        if !is_there {
            self.refuse(self.line, key, ValueProblem::Missing(needs));
        }
        text
    }

    /// A text that `read` understands, or says why not.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        self.read(key, text, read)
    }

    /// A text that `read` understands, and without which the rest means nothing.
    pub(crate) fn needed_parsed<T>(
        &mut self,
        key: &'static str,
        needs: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let text = self.needed(key, needs)?;
        self.read(key, text, read)
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        At { line, value }: At<String>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        match read(&value) {
            Ok(value) => Some(At { line, value }),
            Err(why) => {
                self.refuse(line, key, ValueProblem::Refused { given: value, why });
                None
            }
        }
    }

    /// One of `choices`.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let At { line, value } = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice);
        if found.is_none() {
            self.refuse(line, key, ValueProblem::choice(value, choices));
        }
        found
    }

    /// Some of `choices`, in the order in which they are to be tried; none twice.
    pub(crate) fn choices<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Vec<T>> {
        let mut chosen = Vec::new();
        for At { line, value } in self.list(key)? {
            match choices.iter().find(|(name, _)| *name == value) {
                Some((_, choice)) if chosen.contains(choice) => {
                    self.refuse(
                        line,
                        key,
                        ValueProblem::Refused { given: value, why: "it stands there twice".into() },
                    );
                }
                Some((_, choice)) => chosen.push(*choice),
                None => self.refuse(line, key, ValueProblem::choice(value, choices)),
            }
        }
        Some(chosen)
    }

    /// A path that means the same wherever the kubelet was started.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let path = self.text(key)?;
        self.absolute(key, path)
    }

    /// A path without which the rest means nothing.
    pub(crate) fn needed_path(&mut self, key: &'static str, needs: &'static str) -> Option<PathBuf> {
        let path = self.needed(key, needs)?;
        self.absolute(key, path)
    }

    fn absolute(&mut self, key: &'static str, At { line, value }: At<String>) -> Option<PathBuf> {
        if value.starts_with('/') {
            return Some(PathBuf::from(value));
        }
        self.refuse(line, key, ValueProblem::RelativePath(value));
        None
    }

    /// A time such as `90s` or `1h30m`.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, go_duration::parse).map(|duration| duration.value)
    }

    /// Texts.
    pub(crate) fn list(&mut self, key: &'static str) -> Option<Vec<At<String>>> {
        let Tree { line, node } = self.take(key)?;
        let Node::List(items) = node else {
            self.refuse(line, key, ValueProblem::Shape(TEXTS));
            return None;
        };
        let mut texts = Vec::new();
        for Tree { line, node } in items {
            match text_of(node).filter(|text| !text.is_empty()) {
                Some(value) => texts.push(At { line, value }),
                None => self.refuse(line, key, ValueProblem::Shape(TEXTS)),
            }
        }
        Some(texts)
    }

    /// Texts by name.
    pub(crate) fn map(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        let Tree { line, node } = self.take(key)?;
        let Node::Map(pairs) = node else {
            self.refuse(line, key, ValueProblem::Shape(TEXTS_BY_NAME));
            return None;
        };
        let mut texts = BTreeMap::new();
        for (name, Tree { line, node }) in pairs {
            match text_of(node) {
                Some(value) => drop(texts.insert(name, value)),
                None => self.refuse(line, key, ValueProblem::Shape(TEXTS_BY_NAME)),
            }
        }
        Some(texts)
    }
}

/// Truth values have one spelling each; a number may have been written as `012`.
fn text_of(node: Node) -> Option<String> {
    match node {
        Node::Text(text) => Some(text),
        Node::Flag(flag) => Some(flag.to_string()),
        Node::Null | Node::Number | Node::List(_) | Node::Map(_) => None,
    }
}
