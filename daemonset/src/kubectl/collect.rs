//! `kubectl tripod collect`: what every node says of itself, in one archive for whoever is asked for help.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::AT_ONCE;
use super::ask::{AskError, Kubectl};
use super::pods::Place;
use super::progress::Progress;
use crate::report;

type Archive = tar::Builder<File>;

/// Asks the nodes, and writes the new file `output`, which only its owner reads; says whether all answered.
pub(super) async fn run(kubectl: &Kubectl, node: Option<&str>, output: &Path) -> Result<bool, AskError> {
    let places = kubectl.pods(node).await?.with("net")?;
    let failed = |source| AskError::Bundle { path: output.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(output).map_err(failed)?;
    let mut archive = Archive::new(file);
    let tripod_nodes = kubectl.ask(&["get", "tripodnodes.tripod.dev", "--output=json"]).await;
    let mut all_well = tripod_nodes.is_ok();
    add(&mut archive, "tripodnodes", &told(tripod_nodes)).map_err(failed)?;
    let progress = &Progress::of(places.len());
    let ask = |place: Place| async move {
        let node = kubectl.exec(&place, "net", &["/tripod-node", "collect"]).await;
        let leases = kubectl.exec(&place, "net", &["/tripod-cni", "leases", "--json"]).await;
        progress.step();
        (place.node, node, leases)
    };
    let mut answers = stream::iter(places).map(ask).buffered(AT_ONCE);
    while let Some((name, node, leases)) = answers.next().await {
        all_well &= node.is_ok() && leases.is_ok();
        let mut parts = match told(node) {
            Value::Object(parts) => parts,
            other => [("answer".to_owned(), other)].into_iter().collect(),
        };
        parts.insert("leases".to_owned(), told(leases));
        for (part, value) in parts {
            add(&mut archive, &format!("{}/{}", safe(&name), safe(&part)), &value).map_err(failed)?;
        }
    }
    archive.into_inner().and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(all_well)
}

fn told(answer: Result<Value, AskError>) -> Value {
    answer.unwrap_or_else(|error| json!({"error": report::chain(&error)}))
}

/// Text as it is, anything else as JSON.
fn add(archive: &mut Archive, name: &str, value: &Value) -> io::Result<()> {
    let (name, text) = match value {
        Value::String(text) => (format!("{name}.txt"), text.clone()),
        other => (format!("{name}.json"), format!("{other:#}\n")),
    };
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(text.len()).map_err(io::Error::other)?);
    header.set_mode(0o600);
    header.set_cksum();
    archive.append_data(&mut header, Path::new("tripod").join(name), text.as_bytes())
}

/// A name that leads nowhere else.
fn safe(name: &str) -> String {
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "-._".contains(letter) { letter } else { '_' };
    name.chars().take(255).map(plain).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_archive() {
        for (name, plain) in
            [("n1", "n1"), ("../../etc/passwd", "_.._etc_passwd"), ("/a", "_a"), ("node.yaml", "node.yaml")]
        {
            assert_eq!(safe(name), plain);
        }
    }
}
