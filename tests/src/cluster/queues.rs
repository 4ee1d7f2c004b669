//! What limits traffic on a node.

use anyhow::Context;
use serde_json::Value;

/// Rates of all token buckets in what `tc -j qdisc show` printed, in bytes per second.
pub fn bucket_rates(listing: &str) -> anyhow::Result<Vec<u64>> {
    let queues: Value = serde_json::from_str(listing).with_context(|| format!("tc printed {listing}"))?;
    let buckets = queues.as_array().into_iter().flatten().filter(|queue| queue["kind"] == "tbf");
    Ok(buckets.filter_map(|queue| queue["options"]["rate"].as_u64()).collect())
}
