//! The kubelet's file as a document: only the first of a text counts.

use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use crate::yaml::Tree;

/// Why a text is no document.
#[derive(Debug)]
pub struct Fault {
    /// From 1; 0 when the parser cannot tell.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

/// Reads the first document of `text`, as the kubelet does.
pub fn parse(text: &str) -> Result<Tree, Fault> {
    serde_saphyr::from_str(split(text).0).map_err(|error| {
        let error = error.without_snippet();
        let problem = UserMessageFormatter.format_message(error).into_owned();
        Fault { line: error.location().map_or(0, |location| location.line()), problem }
    })
}

/// Whether `text` has a second document, which the kubelet never reads.
pub fn goes_on(text: &str) -> bool {
    split(text).1.lines().any(|line| has_content(line) && !is_border(line))
}

/// The first document, and the rest.
fn split(text: &str) -> (&str, &str) {
    let (mut at, mut begun) = (0, false);
    for line in text.split_inclusive('\n') {
        if begun && is_border(line) {
            break;
        }
        begun |= has_content(line) && !is_border(line);
        at += line.len();
    }
    text.split_at_checked(at).unwrap_or((text, ""))
}

fn is_border(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::{goes_on, parse};
    use crate::yaml::Node;

    #[test]
    fn kinds_and_lines_are_kept_and_only_the_first_document_is_read() {
        let text = "# first\n---\na: 1\nb: [true, \"true\"]\n---\n{{{\n";
        assert!(goes_on(text) && !goes_on("---\na: 1\n---\n# no more\n"));
        let Node::Map(pairs) = parse(text).unwrap().node else { panic!("a map") };
        let [(_, a), (_, b)] = &pairs[..] else { panic!("two keys: {pairs:?}") };
        assert!(matches!(a.node, Node::Number) && a.line == 3, "{a:?}");
        let Node::List(items) = &b.node else { panic!("a list") };
        assert!(matches!(items[0].node, Node::Flag(true)) && matches!(items[1].node, Node::Text(_)));
    }

    #[test]
    fn what_is_no_document_is_told_with_its_line() {
        for text in ["a: 1\na: 2\n", "a: 1\n b: 2\n", "a: [\n"] {
            assert!(!parse(text).unwrap_err().problem.is_empty(), "{text:?}");
        }
    }
}
