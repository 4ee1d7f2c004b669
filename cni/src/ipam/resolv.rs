//! `resolv.conf` as the `dns` of a result. Pure.

use serde_json::{Map, Value, json};

/// The name servers and search rules of `text`; none where it says nothing.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut dns = Map::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_ascii_whitespace();
        let (Some(keyword), Some(first)) = (words.next(), words.next()) else { continue };
        let all = || std::iter::once(first).chain(words);
        match keyword {
            "nameserver" => extend(&mut dns, "nameservers", [first]),
            "domain" => drop(dns.insert("domain".to_owned(), json!(first))),
            "search" => extend(&mut dns, "search", all()),
            "options" => extend(&mut dns, "options", all()),
            _ => {}
        }
    }
    (!dns.is_empty()).then_some(Value::Object(dns))
}

fn extend<'a>(dns: &mut Map<String, Value>, key: &str, words: impl IntoIterator<Item = &'a str>) {
    let list = dns.entry(key).or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.extend(words.into_iter().map(Value::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keywords_of_a_result_are_read_and_the_rest_is_left() {
        let text = "# generated\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n; old\ndomain a.example\n\
                    search b.example c.example\noptions ndots:5\noptions rotate\nsortlist 10.0.0.0\nsearch\n";
        let expected = json!({
            "nameservers": ["192.0.2.53", "2001:db8::53"], "domain": "a.example",
            "search": ["b.example", "c.example"], "options": ["ndots:5", "rotate"],
        });
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("# nothing\n"), None);
    }
}
