//! How many nodes have been asked, for whoever waits at a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fewer nodes answer before anybody would look.
const FEWEST: usize = 20;

/// Counts on stderr, where that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    asked: AtomicUsize,
    all: usize,
}

impl Progress {
    /// None of `all` nodes has been asked yet.
    pub(super) fn of(all: usize) -> Self {
        let is_shown = all >= FEWEST && std::io::stderr().is_terminal();
        Self { is_shown, asked: AtomicUsize::new(0), all }
    }

    /// One more has.
    pub(super) fn step(&self) {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_shown {
            show(&format!("\r{}", line(asked, self.all)));
        }
    }
}

impl Drop for Progress {
    /// Leaves the line to what is told next.
    fn drop(&mut self) {
        if self.is_shown {
            show(&format!("\r{:width$}\r", "", width = line(self.all, self.all).len()));
        }
    }
}

fn line(asked: usize, all: usize) -> String {
    format!("asked {asked} of {all} nodes")
}

/// Nothing depends on it.
fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_the_nodes_that_were_asked() {
        let progress = Progress { is_shown: false, asked: AtomicUsize::new(0), all: 5000 };
        (0..120).for_each(|_| progress.step());
        assert_eq!(line(progress.asked.load(Ordering::Relaxed), progress.all), "asked 120 of 5000 nodes");
    }
}
