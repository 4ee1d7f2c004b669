//! Golden tables of what the kubelet's own code answers: `URLsMatchStr`, `BasicDockerKeyring.Lookup` and
//! `ParseImageName` of Kubernetes 1.37.1, run over its own test vectors, the cases of the documentation and
//! random ones.

use std::path::Path;

use serde_json::{Map, Value, json};
use tripod_credential_provider::endpoint::Endpoint;
use tripod_credential_provider::image::ImageRef;
use tripod_credential_provider::pattern::Pattern;
use tripod_credential_provider::provider::docker_config::Auths;

use super::golden_table;

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn patterns_match_as_in_the_kubelet() {
    let table = golden_table("match_images.jsonl");
    assert!(table.len() > 250, "the table is whole");
    for row in table {
        let [pattern, image, expected] = &row.as_array().expect("a row")[..] else {
            panic!("three columns: {row}")
        };
        let ours = match (Endpoint::parse(text(pattern)), Endpoint::parse(text(image))) {
            (Ok(pattern), Ok(image)) => pattern.covers(&image),
            _ => false,
        };
        assert_eq!(Value::Bool(ours), *expected, "pattern {pattern} on {image}");
    }
}

/// What the configuration accepts is taken by the kubelet too, and with the same meaning.
#[test]
fn accepted_patterns_mean_the_same_to_the_kubelet() {
    let mut compared = 0;
    for row in golden_table("match_images.jsonl") {
        let [pattern, image, expected] = &row.as_array().expect("a row")[..] else {
            panic!("three columns: {row}")
        };
        let sent = ImageRef::parse(text(image)).ok().filter(|parsed| parsed.repository() == image);
        if let (Ok(pattern), Some(image)) = (Pattern::parse(text(pattern)), sent) {
            assert_eq!(Value::Bool(pattern.matches(&image)), *expected, "pattern {pattern:?} on {image}");
            compared += 1;
        }
    }
    assert!(compared > 80, "only {compared} rows were compared");
}

#[test]
fn images_are_named_as_in_the_kubelet() {
    for row in golden_table("image_names.jsonl") {
        let [reference, expected] = &row.as_array().expect("a row")[..] else { panic!("two columns: {row}") };
        let ours = ImageRef::parse(text(reference)).map_or(Value::Null, |image| json!(image.repository()));
        assert_eq!(ours, *expected, "{reference}");
    }
}

#[test]
fn the_auths_key_is_the_one_the_kubelet_would_try_first() {
    for row in golden_table("auths_order.jsonl") {
        let [keys, image, expected] = &row.as_array().expect("a row")[..] else {
            panic!("three columns: {row}")
        };
        let keys = keys.as_array().expect("a list of keys");
        let auths: Map<_, _> = keys
            .iter()
            .map(|key| (text(key).to_owned(), json!({"username": key, "password": "x"})))
            .collect();
        let auths = Auths::parse(Path::new("/f"), json!({"auths": auths}).to_string().as_bytes())
            .expect("a Docker config");
        let ours = auths.select(&ImageRef::parse(text(image)).expect("an image"));
        let ours = ours.map_or(Value::Null, |selected| json!(selected.username.expose()));
        assert_eq!(ours, expected.get(0).cloned().unwrap_or_default(), "{keys:?} for {image}");
    }
}
