//! `cache ls` and `cache clear`: what is kept between runs, without the secrets.

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use crate::cache::entry::Entry;
use crate::cache::store::Store;
use crate::config::Config;
use crate::error::Error;

#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    origin: &'a str,
    expires_in_seconds: u64,
}

/// One line for each credential that is kept by the configuration at `path`, or a JSON list.
pub fn ls(path: &Path, now: SystemTime, json: bool) -> Result<String, Error> {
    let entries = store(path)?.list()?;
    let lines: Vec<_> = entries.iter().map(|(key, entry)| line(key, entry, now)).collect();
    if json {
        return Ok(serde_json::to_string_pretty(&lines)? + "\n");
    }
    let text = |Line { key, origin, expires_in_seconds }: &Line<'_>| {
        format!("{}  {expires_in_seconds:>6} s left  {origin}\n", key.get(..12).unwrap_or_default())
    };
    Ok(lines.iter().map(text).collect())
}

/// Forgets all of them, and says how many there were.
pub fn clear(path: &Path) -> Result<String, Error> {
    let count = store(path)?.clear()?;
    Ok(format!("forgot {count} credentials; the kubelet may still have some in its own memory\n"))
}

fn store(path: &Path) -> Result<Store, Error> {
    Ok(Store::open(&Config::load(path)?.cache.dir)?)
}

fn line<'a>(key: &'a str, entry: &'a Entry, now: SystemTime) -> Line<'a> {
    let left = entry.expires.duration_since(now).unwrap_or_default();
    Line { key, origin: &entry.origin, expires_in_seconds: left.as_secs() }
}
