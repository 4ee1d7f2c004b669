//! What a person reads while a long run goes on: one line per step, each with its time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Width of the column of step names.
const STEP: usize = 24;
/// Width of the column that says what happened.
const WHAT: usize = 74;

/// A table that grows while the work is done.
#[derive(Debug)]
pub struct Table;

impl Table {
    /// Prints the heading.
    pub fn begin(title: &str) -> Self {
        println!("{title}\n");
        println!("  {:<STEP$} {:<WHAT$} {:>9}", "step", "what happened", "took");
        Self
    }

    /// Runs `work`, which says what happened, and prints its line.
    pub fn step<T>(
        &self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<(T, String)>,
    ) -> anyhow::Result<T> {
        let begin = Instant::now();
        match work() {
            Ok((value, what)) => {
                self.line(name, what, begin.elapsed());
                Ok(value)
            }
            Err(error) => {
                self.line(name, "FAILED", begin.elapsed());
                Err(error.context(name.to_owned()))
            }
        }
    }

    /// Prints a line for work that was timed elsewhere.
    pub fn line(&self, name: &str, what: impl Display, took: Duration) {
        println!("  {name:<STEP$} {:<WHAT$} {:>9}", what.to_string(), readable(took));
    }
}

/// Three digits and a unit.
fn readable(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1000.0;
    match ms {
        _ if ms >= 1000.0 => format!("{:.1} s", ms / 1000.0),
        _ if ms >= 10.0 => format!("{ms:.0} ms"),
        _ => format!("{ms:.2} ms"),
    }
}
