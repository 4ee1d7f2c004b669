//! What a person reads while things take their time: one line per step, with its duration.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Does `work` and prints `what` with the time it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    note(&format!("{what} …"));
    let outcome = work();
    let verdict = if outcome.is_ok() { "" } else { " FAILED" };
    finish(&format!("{what}{verdict} ({:.1} s)", start.elapsed().as_secs_f32()));
    outcome
}

/// Shows a line that the next one replaces. Where the output is no terminal it is not worth a line.
pub fn note(text: &str) {
    if std::io::stdout().is_terminal() {
        print!("\r\x1b[K  {text}");
        std::io::stdout().flush().ok();
    }
}

fn finish(text: &str) {
    let clear = if std::io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
    println!("{clear}  {text}");
}
