//! The fields of one object, taken one by one; what nobody took is unknown to the kubelet.

use super::Note;
use crate::yaml::{Node, Tree};

/// A value and its line; line 0 where it is missing.
#[derive(Clone, Debug, Default)]
pub(super) struct At<T> {
    pub(super) line: u64,
    pub(super) value: T,
}

/// The fields of one object that nobody has taken yet.
pub(super) struct Fields<'n> {
    owner: &'static str,
    line: u64,
    left: Vec<(String, Tree)>,
    notes: &'n mut Vec<Note>,
}

impl<'n> Fields<'n> {
    pub(super) fn of(owner: &'static str, Tree { line, node }: Tree, notes: &'n mut Vec<Note>) -> Self {
        let left = match node {
            Node::Map(pairs) => pairs,
            Node::Null => Vec::new(),
            _ => {
                let evidence = format!("{owner} has no fields");
                notes.push(Note::fatal(line, evidence, "write fields with values"));
                Vec::new()
            }
        };
        Self { owner, line, left, notes }
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The kubelet does not start with this.
    pub(super) fn refuse(&mut self, line: u64, evidence: String, fix: &'static str) {
        self.notes.push(Note::fatal(line, evidence, fix));
    }

    /// The kubelet starts, but perhaps does not do what is meant.
    pub(super) fn doubt(&mut self, line: u64, evidence: String, fix: &'static str) {
        self.notes.push(Note { line, fatal: false, evidence, fix });
    }

    /// A field that must be there and is not.
    pub(super) fn missing(&mut self, field: &str, fix: &'static str) {
        self.refuse(self.line, format!("{} has no {field}", self.owner), fix);
    }

    /// The value of `field`; none where nothing stands there.
    pub(super) fn take(&mut self, field: &str) -> Option<Tree> {
        let index = self.left.iter().position(|(name, _)| name == field)?;
        let (_, tree) = self.left.remove(index);
        (!matches!(tree.node, Node::Null)).then_some(tree)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Option<At<String>> {
        let Tree { line, node } = self.take(field)?;
        match node {
            Node::Text(value) => Some(At { line, value }),
            _ => {
                self.refuse(line, format!("{field} is no text"), "put it into quotation marks");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Option<bool> {
        let Tree { line, node } = self.take(field)?;
        match node {
            Node::Flag(flag) => Some(flag),
            _ => {
                self.refuse(line, format!("{field} is neither true nor false"), "write true or false");
                None
            }
        }
    }

    pub(super) fn list(&mut self, field: &'static str) -> Vec<Tree> {
        let Some(Tree { line, node }) = self.take(field) else { return Vec::new() };
        match node {
            Node::List(items) => items,
            _ => {
                self.refuse(line, format!("{field} is no list"), "write a list");
                Vec::new()
            }
        }
    }

    pub(super) fn texts(&mut self, field: &'static str) -> Vec<At<String>> {
        let mut texts = Vec::new();
        for Tree { line, node } in self.list(field) {
            match node {
                Node::Text(value) => texts.push(At { line, value }),
                Node::Null => texts.push(At { line, value: String::new() }),
                _ => {
                    self.refuse(line, format!("{field} holds what is no text"), "put it into quotation marks")
                }
            }
        }
        texts
    }

    /// Complains about what is left.
    pub(super) fn finish(self) {
        for (name, Tree { line, .. }) in self.left {
            let evidence = format!("{} has no field {name:?}", self.owner);
            self.notes.push(Note::fatal(line, evidence, "remove it, or correct its spelling"));
        }
    }
}
