//! The end of what a program writes: pure.

/// Longest line that is kept, in bytes.
const LONGEST: usize = 256;

/// Takes in bytes as they come, and keeps the last line that says anything.
#[derive(Debug, Default)]
pub(super) struct Tail {
    line: Vec<u8>,
    last: String,
}

impl Tail {
    /// Takes in `bytes`, and gives the lines that end in them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                lines.extend(self.end_line());
            } else if self.line.len() < LONGEST {
                self.line.push(*byte);
            }
        }
        lines
    }

    fn end_line(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim().to_owned();
        if line.is_empty() {
            return None;
        }
        self.last.clone_from(&line);
        Some(line)
    }

    /// The last line; what comes after the last line break is one too.
    pub(super) fn last(&mut self) -> &str {
        self.end_line();
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_the_last_one_is_kept() {
        let mut tail = Tail::default();
        assert!(tail.push(b"star").is_empty());
        assert_eq!(tail.push(b"ting\n\n  no GPU \r\n\n"), ["starting", "no GPU"]);
        assert_eq!(tail.last(), "no GPU");
        tail.push(b"bye");
        assert_eq!(tail.last(), "bye");
    }

    #[test]
    fn a_line_without_end_takes_no_more_room_than_any() {
        let mut tail = Tail::default();
        tail.push(&vec![b'x'; 100_000]);
        assert_eq!(tail.last().len(), LONGEST);
    }
}
