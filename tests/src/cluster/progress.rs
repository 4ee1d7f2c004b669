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

/// What goes on within a long step: on a terminal as it happens, elsewhere a line each minute.
#[derive(Debug)]
pub struct Ticker {
    start: Instant,
    minutes: u64,
}

impl Ticker {
    /// Starts to count now.
    pub fn start() -> Self {
        Self { start: Instant::now(), minutes: 0 }
    }

    /// Tells `text`, with the time since the start, if it is time to.
    pub fn tick(&mut self, text: &str) {
        let seconds = self.start.elapsed().as_secs();
        let line = format!("{text}, {seconds} s");
        if seconds / 60 > self.minutes && !std::io::stdout().is_terminal() {
            self.minutes = seconds / 60;
            println!("  {line}");
        }
        note(&line);
    }
}

/// Shows a line that the next one replaces. Where the output is no terminal it is not worth a line.
fn note(text: &str) {
    if std::io::stdout().is_terminal() {
        print!("\r\x1b[K  {text}");
        std::io::stdout().flush().ok();
    }
}

fn finish(text: &str) {
    let clear = if std::io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
    println!("{clear}  {text}");
}
