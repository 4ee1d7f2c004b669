//! Ethernet hardware addresses. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Six bytes in hexadecimal, with colons or dashes between them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let byte = |digits: &str| {
            let digits = Some(digits).filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
            u8::from_str_radix(digits.filter(|two| two.len() == 2)?, 16).ok()
        };
        let bytes: Option<Vec<u8>> = text.split(separator).map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(())
    }
}

impl Mac {
    /// Whether one interface can have it.
    pub(crate) fn is_unicast(self) -> bool {
        let Self([first, ..]) = self;
        first & 1 == 0 && self.0 != [0; 6]
    }
}

impl TryFrom<String> for Mac {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|()| "no hardware address")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}
