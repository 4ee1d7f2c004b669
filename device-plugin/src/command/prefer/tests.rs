use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::cli::{Output, PlacementWord};

fn device(id: &str, numa: u32, links: Value) -> Value {
    json!({"id": id, "resource": "example.com/gpu", "kind": "nvidia", "vendor": null, "model": "X", "numa": numa,
        "health": "Healthy", "nodes": [format!("/dev/{id}")], "links": links})
}

/// Two pairs, the first of them better linked.
fn pairs() -> Value {
    json!({"version": "v1", "devices": [
        device("a", 0, json!({"b": 4, "c": 1})),
        device("b", 0, json!({"a": 4, "d": 9})),
        device("c", 1, json!({"d": 2, "a": 1})),
        device("d", 1, json!({"c": 2})),
    ]})
}

fn args(size: u32) -> PreferArgs {
    PreferArgs {
        inventory: PathBuf::from("saved.json"),
        resource: "example.com/gpu".to_owned(),
        size,
        available: None,
        must: Vec::new(),
        placement: PlacementWord::Distributed,
        output: Output::Json,
    }
}

fn answered(document: &Value, args: &PreferArgs) -> Explained {
    let bytes = document.to_string().into_bytes();
    let inventory = Inventory::parse(&bytes, &args.inventory, &args.resource).unwrap();
    Question::new(&inventory, args).unwrap().answer()
}

fn refused(document: &Value, args: &PreferArgs) -> String {
    let bytes = document.to_string().into_bytes();
    let refused = Inventory::parse(&bytes, Path::new("saved.json"), &args.resource)
        .and_then(|inventory| Question::new(&inventory, args).map(drop));
    crate::error::chain(&refused.unwrap_err())
}

fn list(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn the_choice_comes_with_its_weights_and_the_next_best() {
    let explained = answered(&pairs(), &args(2));
    assert_eq!(explained.chosen, Judged { devices: list(&["a", "b"]), inside: 4, cut: 1, numa_nodes: 1 });
    assert_eq!(explained.others[0], Judged { devices: list(&["c", "d"]), inside: 2, cut: 1, numa_nodes: 1 });
    assert_eq!(explained.others[1].devices, list(&["a", "c"]));
    assert_eq!(explained.others.len(), 3);
    let why = explained.why();
    assert_eq!(why[0], "Of 4 available devices every set of 2 was looked at.");
    assert_eq!(why[1], "The links inside it weigh 4, more than those of any other set: the next best has 2.");
    let told = "1 links weigh nothing since only one end tells of them, such as the one from b to d.";
    assert_eq!(why[2], told);
}

#[test]
fn one_device_is_the_least_connected_one() {
    let explained = answered(&pairs(), &args(1));
    assert_eq!(explained.chosen.devices, ["d"]);
    assert!(explained.why()[1].contains("would cut off links of weight 3"), "{:?}", explained.why());
}

#[test]
fn what_is_available_and_what_must_be_included_is_heeded() {
    let asked = PreferArgs { available: Some(list(&["a", "c", "d"])), must: list(&["a"]), ..args(2) };
    let explained = answered(&pairs(), &asked);
    assert_eq!((explained.chosen.devices, explained.available), (list(&["a", "c"]), 3));
    let all = answered(&pairs(), &args(9));
    assert_eq!(all.why()[0], "9 are wanted and 4 are available: the answer is all of them.");
}

#[test]
fn shares_are_one_device_with_one_set_of_links() {
    let share = |id: &str| device(id, 0, json!({}));
    let shares = ["a::0", "a::1", "b::0", "b::1"].map(share);
    let document = json!({"version": "v1", "devices": shares});
    assert_eq!(answered(&document, &args(2)).chosen.devices, ["a::0", "b::0"]);
    let packed = PreferArgs { placement: PlacementWord::Packed, ..args(2) };
    let explained = answered(&document, &packed);
    assert_eq!((explained.chosen.devices.clone(), explained.exact), (list(&["a::0", "a::1"]), false));
    assert!(explained.why()[0].starts_with("What is taken lies on as few cards"));
}

#[test]
fn a_wrong_document_is_refused_with_its_field_and_what_to_do() {
    let mut document = pairs();
    document["devices"][2]["health"] = json!("fine");
    let error = "the inventory saved.json: devices[2].health is \"fine\": say Healthy or Unhealthy";
    assert_eq!(refused(&document, &args(1)), error);
    document["devices"][2]["healht"] = json!("Healthy");
    let error = refused(&document, &args(1));
    assert!(error.contains("saved.json is not what `discover --output json` prints"), "{error}");
    assert!(error.contains("unknown field `healht`"), "{error}");
    let error = refused(&json!({"version": "v2", "devices": []}), &args(1));
    assert_eq!(error, "the inventory saved.json: version is \"v2\": this program reads v1");
    document = pairs();
    document["devices"][1]["id"] = json!("a");
    let error = refused(&document, &args(1));
    assert!(error.contains("devices[1].id is \"a\": the resource has it already"), "{error}");
}

#[test]
fn an_unknown_resource_or_id_is_refused_with_what_there_is() {
    let other = PreferArgs { resource: "example.com/tpu".to_owned(), ..args(1) };
    let error = refused(&pairs(), &other);
    assert!(error.ends_with("give --resource one that it has: example.com/gpu"), "{error}");
    let unlisted = PreferArgs { must: list(&["z"]), ..args(1) };
    let error = refused(&pairs(), &unlisted);
    assert!(error.starts_with("--must names \"z\", which is no device of example.com/gpu"), "{error}");
}

#[test]
fn both_outputs_tell_the_same() {
    let explained = answered(&pairs(), &args(2));
    let printed = |output| {
        let mut bytes = Vec::new();
        print::print(output, &explained, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let document: Value = serde_json::from_str(&printed(Output::Json)).unwrap();
    assert_eq!(document["chosen"], json!({"devices": ["a", "b"], "inside": 4, "cut": 1, "numa_nodes": 1}));
    assert_eq!((&document["exact"], &document["version"]), (&json!(true), &json!("v1")));
    let table = printed(Output::Table);
    assert!(table.contains("chosen             4           1       1  a b\n"), "{table}");
}
