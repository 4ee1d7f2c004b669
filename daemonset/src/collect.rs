//! `tripod-node collect`: what explains a node to whoever is asked for help, as one JSON object. Words that
//! may be secrets are taken out of what people wrote.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tripod_cni::finding;

use crate::cli::Collect;
use crate::kernel::{Kernel, KernelError};
use crate::metrics::{PORT, fetch};
use crate::{config, doctor, hostfs, report, status};

/// Stands for what was taken out.
const HIDDEN: &str = "REDACTED";
/// Keys with one of these in their names hold what is nobody else's.
const SECRETS: [&str; 6] = ["password", "passwd", "secret", "token", "credential", "auth"];
const LONGEST_METRICS: usize = 4 << 20;
/// A server that works answers at once.
const ANSWER: Duration = Duration::from_secs(5);

/// Tells it on `stdout`.
pub async fn run(flags: &Collect, stdout: &mut dyn Write) -> io::Result<()> {
    let status = status::ask(flags.doctor.health_addr).await;
    let findings = doctor::findings(&flags.doctor).await;
    let text =
        |path| hostfs::read(path, config::LONGEST).map(|bytes| hidden(&String::from_utf8_lossy(&bytes)));
    let told = |text: Result<Value, hostfs::HostFsError>| {
        text.unwrap_or_else(|error| json!({"error": report::chain(&error)}))
    };
    let bundle = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "doctor": serde_json::from_str::<Value>(&finding::json(&findings)).unwrap_or_default(),
        "conflist": told(text(&flags.doctor.conflist)),
        "node.yaml": told(text(&flags.config)),
        "metrics": metrics(status.as_ref().ok()).await,
        "kernel": kernel().await.unwrap_or_else(|error| json!({"error": report::chain(&error)})),
        "status": status.unwrap_or_else(|error| json!({"error": error.to_string()})),
    });
    writeln!(stdout, "{bundle}")
}

async fn metrics(status: Option<&Value>) -> String {
    let first = status.and_then(|status| status.pointer("/nodeIPs/0")).and_then(Value::as_str);
    let Some(ip) = first.and_then(|ip| ip.parse::<IpAddr>().ok()) else { return String::new() };
    let asked = fetch(SocketAddr::new(ip, PORT), "/metrics", LONGEST_METRICS);
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok((_, text))) => String::from_utf8_lossy(&text).into_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("no answer within {ANSWER:?}"),
    }
}

/// Links, addresses, and the routes that are ours.
async fn kernel() -> Result<Value, KernelError> {
    let kernel = Kernel::open()?;
    let links = kernel.links().await?.into_iter().map(|link| {
        json!({"index": link.index, "name": link.name, "mtu": link.mtu, "up": link.is_up, "group": link.group})
    });
    let addresses = kernel.addresses().await?.into_iter();
    let routes = kernel.routes().await?.into_iter().map(|route| format!("{route:?}"));
    Ok(json!({
        "links": links.collect::<Vec<_>>(),
        "addresses": addresses.map(|(link, ip)| json!({"link": link, "address": ip})).collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
    }))
}

/// A document without comments, without what keys hold that look like secrets, and without who signs in by a
/// URL. What cannot be parsed is left out: nobody could say what is in it.
fn hidden(text: &str) -> Value {
    match serde_saphyr::from_str::<Value>(text) {
        Ok(value) => hide(value),
        Err(_) => json!("left out: it cannot be parsed"),
    }
}

fn hide(value: Value) -> Value {
    let is_secret = |key: &str| SECRETS.iter().any(|word| key.to_ascii_lowercase().contains(word));
    match value {
        Value::Object(fields) => {
            let field = |(key, value): (String, Value)| {
                if is_secret(&key) { (key, json!(HIDDEN)) } else { (key, hide(value)) }
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(hide).collect()),
        Value::String(text) => Value::String(without_user(text)),
        other => other,
    }
}

/// Everything between the scheme and the last `@`, whatever a password is made of.
fn without_user(text: String) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{HIDDEN}@{rest}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_taken_out_and_the_rest_stays() {
        let text = "apiServers: [\"https://me:hunt/er@2@192.0.2.1:6443\", https://192.0.2.2:6443]\n\
            bearerToken: |\n  s3cr3t\n  more\ninner: {\"Password\": [pa55], mtu: 1400}\n# old: 0ld\n";
        let hidden = hidden(text).to_string();
        for secret in ["hunt", "er@2", "s3cr3t", "more", "pa55", "0ld", "me:"] {
            assert!(!hidden.contains(secret), "{secret}: {hidden}");
        }
        for plain in ["192.0.2.1:6443", "https://192.0.2.2:6443", "bearerToken", "1400"] {
            assert!(hidden.contains(plain), "{plain}: {hidden}");
        }
        assert!(!super::hidden("token: {s3cr3t").to_string().contains("s3cr3t"));
    }
}
