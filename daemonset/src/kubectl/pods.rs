//! The list of Tripod's pods: no more of it than is needed, as a DaemonSet may have thousands of pods, and a whole one
//! has some 15 KiB. Pure.

use super::ask::AskError;

/// One line for each pod: its node, its name, and its containers.
pub(super) const OUTPUT: &str = "--output=jsonpath={range .items[*]}{.spec.nodeName}{\"\\t\"}{.metadata.name}{\"\\t\"}\
    {.spec.containers[*].name}{\"\\n\"}{end}";

/// Longest name of anything (RFC 1123, as Kubernetes takes it).
const LONGEST_NAME: usize = 253;

/// A pod of Tripod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its node.
    pub(super) node: String,
    /// Its name.
    pub(super) pod: String,
}

/// A pod, and the names of its containers.
type Found = (Place, Vec<String>);

/// Tripod's pods.
#[derive(Debug)]
pub(super) struct Pods {
    /// Each of them.
    pub(super) found: Vec<Found>,
    /// Where they were looked for.
    pub(super) namespace: String,
    /// On which node, in words.
    pub(super) on: String,
}

impl Pods {
    /// Those with this container, by node.
    pub(super) fn with(&self, container: &'static str) -> Result<Vec<Place>, AskError> {
        let has = |(_, containers): &&Found| containers.iter().any(|one| one == container);
        let mut places: Vec<Place> = self.found.iter().filter(has).map(|(place, _)| place.clone()).collect();
        places.sort_by(|a, b| a.node.cmp(&b.node));
        if places.is_empty() {
            let (namespace, on) = (self.namespace.clone(), self.on.clone());
            return Err(AskError::Nobody { container, namespace, on });
        }
        Ok(places)
    }
}

/// Reads what [`OUTPUT`] asks for. A pod that has no node yet is left out.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Found>, String> {
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    // A list that was cut is not taken for a whole one.
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("its last line has no end".to_owned());
    }
    let found: Result<Vec<_>, _> = text.lines().map(line).collect();
    Ok(found?.into_iter().flatten().collect())
}

fn line(line: &str) -> Result<Option<Found>, String> {
    let short: String = line.chars().take(LONGEST_NAME).collect();
    let fields: Vec<&str> = line.split('\t').collect();
    let [node, pod, containers] = fields[..] else {
        return Err(format!("{short:?} has not three fields"));
    };
    let names =
        [pod].into_iter().chain(containers.split(' ')).chain(Some(node).filter(|node| !node.is_empty()));
    if !names.into_iter().all(is_name) {
        return Err(format!("{short:?} has what is no name"));
    }
    let place = Place { node: node.to_owned(), pod: pod.to_owned() };
    Ok((!node.is_empty()).then(|| (place, containers.split(' ').map(str::to_owned).collect())))
}

/// Nothing else becomes a word of a command line.
fn is_name(name: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_letter = |letter: u8| is_plain(letter) || letter == b'-' || letter == b'.';
    name.len() <= LONGEST_NAME && name.bytes().all(is_letter) && name.bytes().next().is_some_and(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_found_by_their_container_and_in_the_order_of_their_nodes() {
        let text = b"n2\ttripod-b\tfiles net\nn1\ttripod-a\tnet\n\ttripod-c\tnet\n";
        let pods = Pods { found: parse(text).unwrap(), namespace: "x".to_owned(), on: String::new() };
        let names = |container| {
            pods.with(container)
                .map(|all| all.into_iter().map(|it| it.node + " " + &it.pod).collect::<Vec<_>>())
        };
        assert_eq!(names("net").unwrap(), ["n1 tripod-a", "n2 tripod-b"]);
        assert_eq!(names("files").unwrap(), ["n2 tripod-b"]);
        assert!(matches!(names("device-plugin"), Err(AskError::Nobody { .. })));
    }

    #[test]
    fn a_list_of_another_form_is_none() {
        assert_eq!(parse(b"").unwrap(), []);
        for text in [
            "n1\ttripod-a\tnet",
            "n1\ttripod-a\n",
            "n1\ttripod-a\tnet\tx\n",
            "n1\t--flag\tnet\n",
            "n1\t\tnet\n",
            "n1\ttripod-a\t\n",
            "n 1\ttripod-a\tnet\n",
            "{\"items\": []}\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"n1\ttripod-\xff\tnet\n").is_err());
    }
}
