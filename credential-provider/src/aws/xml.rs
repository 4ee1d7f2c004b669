//! The answers of STS, which are XML: elements with text in them, and nothing else that XML knows. A declaration is
//! stepped over, attributes are not looked at; comments, `DOCTYPE` and the like are refused.

/// How deep elements may lie in each other.
const DEEPEST: usize = 16;
/// How many elements there may be; a tenth is usual.
const MOST: usize = 256;

/// The elements that hold text and no others.
#[derive(Debug)]
pub(super) struct Texts<'a>(Vec<(Vec<&'a str>, &'a str)>);

impl<'a> Texts<'a> {
    /// Reads `document`; none of something else than well-formed XML of this kind.
    pub(super) fn read(document: &'a str) -> Option<Self> {
        let mut rest = skip_declaration(document.trim())?;
        let mut reading = Reading::default();
        loop {
            let (text, tag, after) = next(rest)?;
            rest = after;
            match tag.strip_prefix('/') {
                Some(name) => reading.close(name.trim_end(), text)?,
                None => reading.open(tag, text)?,
            }
            if reading.open.is_empty() {
                return rest.is_empty().then_some(Self(reading.found));
            }
        }
    }

    /// The text of the one element whose name and parents' names end with `path`.
    pub(super) fn get(&self, path: &[&str]) -> Option<String> {
        let mut all = self.0.iter().filter(|(names, _)| names.ends_with(path));
        let (_, text) = all.next()?;
        if all.next().is_some() { None } else { unescape(text) }
    }
}

#[derive(Default)]
struct Reading<'a> {
    found: Vec<(Vec<&'a str>, &'a str)>,
    open: Vec<&'a str>,
    /// Whether nothing but text has followed the last start tag.
    is_leaf: bool,
}

impl<'a> Reading<'a> {
    /// A start tag, or one of an element without content, after `text`.
    fn open(&mut self, tag: &'a str, text: &str) -> Option<()> {
        let (name, is_empty) = (name(tag)?, tag.ends_with('/'));
        let fits = self.open.len() < DEEPEST && self.found.len() < MOST;
        let is_inside = !(is_empty && self.open.is_empty());
        self.is_leaf = !is_empty;
        if !is_empty {
            self.open.push(name);
        }
        (text.trim().is_empty() && fits && is_inside).then_some(())
    }

    /// An end tag after `text`.
    fn close(&mut self, name: &str, text: &'a str) -> Option<()> {
        let is_text_allowed = self.is_leaf || text.trim().is_empty();
        if self.is_leaf {
            self.found.push((self.open.clone(), text));
        }
        self.is_leaf = false;
        self.open.pop().filter(|opened| *opened == name && is_text_allowed).map(drop)
    }
}

fn skip_declaration(document: &str) -> Option<&str> {
    match document.strip_prefix("<?xml") {
        Some(rest) => Some(rest.split_once("?>")?.1),
        None => Some(document),
    }
}

/// The text before the next tag, the tag, and what follows it.
fn next(rest: &str) -> Option<(&str, &str, &str)> {
    let (text, rest) = rest.split_once('<')?;
    let (tag, rest) = rest.split_once('>')?;
    Some((text, tag, rest))
}

/// The name in a start tag.
fn name(tag: &str) -> Option<&str> {
    let name = tag.trim_end_matches('/').split_ascii_whitespace().next()?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    (plain && tag.starts_with(name)).then_some(name)
}

fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('&');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let (entity, rest) = piece.split_once(';')?;
        plain.push(character(entity)?);
        plain.push_str(rest);
    }
    Some(plain)
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Texts;

    const ANSWER: &str = "<?xml version=\"1.0\"?>\n<R xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n <Result>\n  \
        <User><Arn>a</Arn></User><Empty/>\n  <Credentials>\n   <Token>x&amp;y&#43;z==</Token><Id>b</Id>\n  \
        </Credentials>\n </Result>\n <Meta><Id>c</Id></Meta>\n</R>\n";

    #[test]
    fn texts_are_found_by_their_path() {
        let texts = Texts::read(ANSWER).unwrap();
        let get = |path: &[&str]| texts.get(path);
        assert_eq!(get(&["Credentials", "Token"]).as_deref(), Some("x&y+z=="));
        assert_eq!(get(&["Credentials", "Id"]).as_deref(), Some("b"));
        assert_eq!(get(&["User", "Arn"]).as_deref(), Some("a"));
        assert_eq!((get(&["Id"]), get(&["Absent"])), (None, None));
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        for text in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a><b></a></b>",
            "<a/>",
            "<a>x</a><b>y</b>",
            "<a>x<b>y</b></a>",
            "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
            "<a><!-- --></a>",
            "<a><![CDATA[x]]></a>",
            "<html><body><br>Please log in</body></html>",
            &"<a>".repeat(100),
        ] {
            assert!(Texts::read(text).is_none(), "{text}");
        }
        assert_eq!(Texts::read("<a>&unknown;</a>").unwrap().get(&["a"]), None);
        assert_eq!(Texts::read("<a>&#x110000;</a>").unwrap().get(&["a"]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[<>/?!a-c&;#x1 =\"]{0,60}") {
            let _read = Texts::read(&text).map(|texts| texts.get(&["a"]));
        }
    }
}
