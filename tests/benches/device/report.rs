//! What is printed, and what a gate insists on.

use serde_json::{Map, Value, json};

use crate::latency::Latency;

/// A figure and the limit that it has to keep.
struct Check {
    what: String,
    value: f64,
    limit: f64,
    judged: bool,
}

/// The figures of one run.
pub(crate) struct Report {
    figures: Map<String, Value>,
    checks: Vec<Check>,
}

impl Report {
    /// That of the bench `name`.
    pub(crate) fn new(name: &str) -> Self {
        let mut figures = Map::new();
        figures.insert("bench".to_owned(), json!(name));
        figures.insert("optimised".to_owned(), json!(!cfg!(debug_assertions)));
        Self { figures, checks: Vec::new() }
    }

    /// One row of times.
    pub(crate) fn times(&mut self, name: &str, latency: &Latency) {
        println!("{name:<44} p50 {:>8.4} p99 {:>8.4} ms", latency.p50(), latency.p99());
        self.figure(name, json!({"p50": rounded(latency.p50()), "p99": rounded(latency.p99())}));
    }

    /// One figure.
    pub(crate) fn plain(&mut self, name: &str, value: f64) {
        println!("{name:<44}     {value:>8.2}");
        self.figure(name, json!(rounded(value)));
    }

    pub(crate) fn figure(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Notes that `value` milliseconds in the release build are to be at most `limit`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.checks.push(Check { what: what.to_owned(), value, limit, judged: true });
    }

    /// The same of something that ran in this process.
    pub(crate) fn at_most_here(&mut self, what: &str, value: f64, limit: f64) {
        let judged = !cfg!(debug_assertions);
        self.checks.push(Check { what: what.to_owned(), value, limit, judged });
    }

    /// Prints what is kept and what is not, and at the end the JSON line. Whether all is kept.
    pub(crate) fn finish(mut self) -> bool {
        println!();
        for check in &self.checks {
            let word = match (check.kept(), check.judged) {
                (true, _) => "ok        ",
                (false, true) => "MISSED    ",
                (false, false) => "not judged",
            };
            println!("{word} {:<58} {:>8.4} ≤ {}", check.what, check.value, check.limit);
        }
        let checks = self.checks.iter().map(|check| {
            let verdict = json!({"value": rounded(check.value), "limit": check.limit, "ok": check.kept()});
            (check.what.clone(), verdict)
        });
        let checks: Map<String, Value> = checks.collect();
        let all = self.checks.iter().all(|check| check.kept() || !check.judged);
        self.figure("checks", Value::Object(checks));
        println!("{}", Value::Object(self.figures));
        all
    }
}

impl Check {
    fn kept(&self) -> bool {
        self.value <= self.limit
    }
}

pub(crate) fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}
