//! Points in time as far ends write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// `2026-11-21T08:00:00Z`, possibly with a fraction or another zone.
pub(crate) fn rfc3339(text: &str) -> Option<SystemTime> {
    let moment = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
    SystemTime::try_from(moment).ok()
}

/// Seconds since 1970; nothing of zero, which stands for "not known".
pub(crate) fn epoch(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::{epoch, rfc3339};

    #[test]
    fn moments_are_read_in_every_form_that_is_written() {
        for text in ["2026-11-21T08:00:00Z", "2026-11-21T08:00:00.000Z", "2026-11-21T09:00:00+01:00"] {
            assert_eq!(rfc3339(text), epoch(1_795_248_000), "{text}");
        }
        for text in ["", "2026-11-21", "yesterday", "2026-13-21T08:00:00Z"] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        assert_eq!((epoch(0), epoch(u64::MAX)), (None, None));
    }
}
