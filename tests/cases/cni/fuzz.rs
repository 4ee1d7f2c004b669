//! The fuzzer's targets on stable Rust: known good texts, damaged by chance.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use serde_json::{Value, json};
use tripod_tests::chance::Chance;

use super::dual;

const ROUNDS: usize = 20_000;

/// Pieces that mean something to a decoder of JSON or of our keys.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "\"\\ud800\"",
    "\u{fffd}",
    "/33",
    "::",
    "0.0.0.0/0",
    "fe80::1/128",
    "\"cniVersion\":",
    "\"ipam\":",
    "\"subnet\":",
    "\"runtimeConfig\":{\"PortMappings\":",
    "\"interface\":-9223372036854775809",
];

fn damaged(text: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(text.len() + 1);
        let end = (at + chance.below(12)).min(text.len());
        match chance.below(4) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..end, PIECES[chance.below(PIECES.len())].bytes())),
            2 if at < text.len() => text[at] ^= 1 << chance.below(8),
            _ => {
                let piece = text[at..end].repeat(1 + chance.below(20));
                text.splice(at..at, piece);
            }
        }
    }
    text
}

fn any_damage_is_judged(good: &Value, target: fn(&[u8])) {
    let seed = Chance::seed();
    let mut chance = Chance::new(seed);
    let good = good.to_string();
    target(good.as_bytes());
    for _ in 0..ROUNDS {
        target(&damaged(good.as_bytes(), &mut chance));
    }
    target(&b"[".repeat(100_000));
    target(format!("\"{}\"", "x".repeat(1 << 20)).as_bytes());
}

#[test]
fn any_damaged_configuration_is_read_or_refused() {
    let mut conf = dual("1.1.0");
    conf["dns"] = json!({"nameservers": ["192.0.2.53"]});
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]);
    conf["runtimeConfig"] = json!({"PortMappings": null, "Dns": {"Servers": null}});
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    any_damage_is_judged(&conf, targets::config);
}

#[test]
fn any_damaged_prev_result_is_read_or_refused() {
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "tp0", "mac": "ee:ee:ee:ee:ee:ee", "mtu": 1500}, {"name": "eth0", "sandbox": "/n"}],
        "ips": [{"address": "10.1.0.2/32", "gateway": "169.254.1.1", "interface": 1}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
    });
    any_damage_is_judged(&result, targets::prev_result);
}
