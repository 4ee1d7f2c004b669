//! What is printed, and what a gate insists on.

use serde_json::{Map, Value, json};

use crate::rows::Row;

/// A figure and the limit that it has to keep.
struct Check {
    what: String,
    value: f64,
    limit: f64,
    at_most: bool,
}

/// The figures of one run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Map<String, Value>,
    checks: Vec<Check>,
}

impl Report {
    /// A row of times in milliseconds.
    pub(crate) fn times(&mut self, name: &str, row: &Row) {
        for (who, add, del) in row {
            println!(
                "{name:<12} {who:<16} ADD p50 {:>7.3} p99 {:>7.3} cpu {:>7.3} ms   DEL p50 {:>7.3} p99 {:>7.3} cpu {:>7.3} ms   {} KiB",
                add.p50(),
                add.p99(),
                add.cpu(),
                del.p50(),
                del.p99(),
                del.cpu(),
                add.max_rss_kib.max(del.max_rss_kib),
            );
            let times = json!({
                "add": {"p50": rounded(add.p50()), "p99": rounded(add.p99()), "cpu": rounded(add.cpu())},
                "del": {"p50": rounded(del.p50()), "p99": rounded(del.p99()), "cpu": rounded(del.cpu())},
                "max_rss_kib": add.max_rss_kib.max(del.max_rss_kib),
            });
            self.figure(&format!("{name}.{who}"), times);
        }
    }

    /// Calls per second.
    pub(crate) fn rates(&mut self, name: &str, rates: &[(&str, f64, f64)]) {
        for (who, add, del) in rates {
            println!("{name:<12} {who:<16} ADD {add:>7.0}/s   DEL {del:>7.0}/s");
            self.figure(&format!("{name}.{who}"), json!({"add": add.round(), "del": del.round()}));
        }
    }

    pub(crate) fn figure(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Notes that `value` is to be at most `limit`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.checks.push(Check { what: what.to_owned(), value, limit, at_most: true });
    }

    /// Notes that `value` is to be at least `limit`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.checks.push(Check { what: what.to_owned(), value, limit, at_most: false });
    }

    /// Prints what is kept and what is not, and at the end the JSON line. Whether all is kept.
    pub(crate) fn finish(mut self) -> bool {
        let kept = |check: &Check| {
            if check.at_most { check.value <= check.limit } else { check.value >= check.limit }
        };
        println!();
        for check in &self.checks {
            let word = if kept(check) { "ok    " } else { "MISSED" };
            let sign = if check.at_most { "≤" } else { "≥" };
            println!("{word} {:<58} {:>8.3} {sign} {}", check.what, check.value, check.limit);
        }
        let checks = self.checks.iter().map(|check| {
            (
                check.what.clone(),
                json!({"value": rounded(check.value), "limit": check.limit, "ok": kept(check)}),
            )
        });
        let checks: Map<String, Value> = checks.collect();
        let all = self.checks.iter().all(kept);
        self.figure("checks", Value::Object(checks));
        println!("{}", Value::Object(self.figures));
        all
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
