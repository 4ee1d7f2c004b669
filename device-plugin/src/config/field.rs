//! Reading one value of a document: of the right kind, within its bounds, or a noted problem.

use std::ops::RangeInclusive;

use super::problem::Problems;
use super::yaml::{Node, Yaml};

/// A value together with the path of keys that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) key: String,
    pub(crate) line: u64,
    value: &'a Yaml,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(crate) fn document(node: &'a Node) -> Field<'a> {
        Field { key: String::new(), line: node.referenced.line(), value: &node.value }
    }

    /// Notes a problem with this value.
    pub(crate) fn problem(
        &self,
        problems: &mut Problems,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        problems.add(self.line, &self.key, message, fix);
    }

    /// A mapping whose keys are all among `known`; every other key is a problem of its own.
    pub(crate) fn table(&self, known: &[&str], problems: &mut Problems) -> Option<Table<'a>> {
        let Yaml::Map(entries) = self.value else {
            let fix = format!("write it as a mapping with the keys {}", known.join(", "));
            self.problem(problems, format!("must be a mapping, not {}", self.value.noun()), fix);
            return None;
        };
        let mut fields = Vec::new();
        for (name, node) in entries {
            let key =
                if self.key.is_empty() { name.value.clone() } else { format!("{}.{}", self.key, name.value) };
            let line = name.referenced.line();
            if known.contains(&name.value.as_str()) {
                fields.push((name.value.as_str(), Field { key, line, value: &node.value }));
            } else {
                problems.add(
                    line,
                    &key,
                    "is an unknown key",
                    format!("the keys known here are {}", known.join(", ")),
                );
            }
        }
        Some(Table { key: self.key.clone(), line: self.line, fields })
    }

    /// A list of at most `limit` items.
    pub(crate) fn list(&self, limit: usize, problems: &mut Problems) -> Option<Vec<Field<'a>>> {
        let Yaml::List(items) = self.value else {
            self.problem(
                problems,
                format!("must be a list, not {}", self.value.noun()),
                "write it as a list",
            );
            return None;
        };
        if items.len() > limit {
            let message = format!("has {} items, more than the {limit} allowed", items.len());
            self.problem(problems, message, "shorten the list");
            return None;
        }
        let field = |(i, node): (usize, &'a Node)| Field {
            key: format!("{}[{i}]", self.key),
            line: node.referenced.line(),
            value: &node.value,
        };
        Some(items.iter().enumerate().map(field).collect())
    }

    /// A string.
    pub(crate) fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        if let Yaml::Text(text) = self.value {
            return Some(text);
        }
        self.problem(
            problems,
            format!("must be a string, not {}", self.value.noun()),
            "put the value in quotes",
        );
        None
    }

    /// The items of a list, or the value itself as the only one.
    pub(crate) fn one_or_more(&self, limit: usize, problems: &mut Problems) -> Option<Vec<Field<'a>>> {
        match self.value {
            Yaml::List(_) => self.list(limit, problems),
            _ => Some(vec![self.clone()]),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        if let Yaml::Bool(value) = self.value {
            return Some(*value);
        }
        let message = format!("must be true or false, not {}", self.value.noun());
        self.problem(problems, message, "write true or false, without quotes");
        None
    }

    /// An integer within `range`.
    pub(crate) fn integer(&self, range: RangeInclusive<u32>, problems: &mut Problems) -> Option<u32> {
        let number = if let Yaml::Integer(number) = self.value { u32::try_from(*number).ok() } else { None };
        if let Some(number) = number.filter(|n| range.contains(n)) {
            return Some(number);
        }
        let fix = format!("give an integer from {} to {}", range.start(), range.end());
        let message = match self.value {
            Yaml::Integer(number) => format!("is {number}, which is out of range"),
            other => format!("must be an integer, not {}", other.noun()),
        };
        self.problem(problems, message, fix);
        None
    }
}

/// A mapping whose keys are known ones.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) key: String,
    pub(crate) line: u64,
    fields: Vec<(&'a str, Field<'a>)>,
}

impl<'a> Table<'a> {
    /// The field `name`, when it is there.
    pub(crate) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// The field `name`, whose absence is a problem.
    pub(crate) fn required(&self, name: &str, fix: &str, problems: &mut Problems) -> Option<&Field<'a>> {
        let field = self.field(name);
        if field.is_none() {
            let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
            problems.add(self.line, &key, "is missing", fix);
        }
        field
    }
}
