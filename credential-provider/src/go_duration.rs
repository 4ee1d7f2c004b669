//! Times as Go writes and reads them: `25s`, `1h30m`, `1.5h`, `500ms`.

use std::time::Duration;

const UNITS: [(&str, f64); 6] =
    [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads a time; none that is negative. What is wrong with it is told for a person.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time such as \"25s\" or \"1h30m\"".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut left = text;
    let mut seconds = 0.0;
    while !left.is_empty() || text.is_empty() {
        let (number, rest) = split(left, |c| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (unit, rest) = split(rest, |c| c.is_ascii_digit() || c == '.').unwrap_or((rest, ""));
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let count: f64 = number.parse().ok().ok_or_else(wrong)?;
        seconds += count * length;
        left = rest;
    }
    Duration::try_from_secs_f64(seconds).ok().ok_or_else(|| "it is too long".to_owned())
}

/// `text` before and from the first character that `is_end`.
fn split(text: &str, is_end: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    text.find(is_end).map(|end| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("25s", 25_000),
            ("11h30m0s", 41_400_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("0", 0),
            ("0s", 0),
            ("90000us", 90),
        ] {
            assert_eq!(parse(text).map(|time| time.as_millis()), Ok(milliseconds), "{text:?}");
        }
        for text in ["", "25", "s", "1d", "-1s", "1s ", "1..5s", ".s", "1e3s", "99999999999999999999999h"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
