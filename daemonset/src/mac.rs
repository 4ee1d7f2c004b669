//! Hardware addresses of overlay devices.

use std::fmt;
use std::hash::Hasher;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip::SipHasher13;

/// A hardware address; prints as `02:00:5e:10:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// A text that is no hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address; one is for example 02:00:5e:10:00:01")]
pub struct MacError(String);

impl Mac {
    /// The address of the node whose Node object has this UID: the same after each boot, so that no peer
    /// has to learn another one, and another for each node. Locally administered, no group.
    pub fn of_node(uid: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(uid.as_bytes());
        let [_, _, first, rest @ ..] = hasher.finish().to_be_bytes();
        let [b, c, d, e, f] = rest;
        Self([(first & 0xfc) | 0x02, b, c, d, e, f])
    }

    /// The link-local address that IPv6 derives from it (RFC 4291, appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let [_, _, _, _, w, x, y, z] =
            Ipv6Addr::from([0, 0, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]).segments();
        Ipv6Addr::new(0xfe80, 0, 0, 0, w, x, y, z)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let refused = || MacError(text.to_owned());
        let byte = |digits: &str| {
            let is_byte = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_byte.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(refused)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_same_address_for_ever() {
        let mac = Mac::of_node("0f5b8a0e-6f0c-4a53-9b51-0f3f8a1f0001");
        assert_eq!(mac.to_string(), "12:48:ea:2c:3e:ee");
        assert_ne!(mac, Mac::of_node("0f5b8a0e-6f0c-4a53-9b51-0f3f8a1f0002"));
        for uid in 0..1000 {
            let Mac([first, ..]) = Mac::of_node(&uid.to_string());
            assert_eq!(first & 3, 2);
        }
    }

    #[test]
    fn the_text_is_the_kernels() {
        let mac: Mac = "02:00:5e:10:AB:01".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:ab:01");
        assert_eq!(mac.link_local().to_string(), "fe80::5eff:fe10:ab01");
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "2:0:5e:10:0:1",
            "02-00-5e-10-00-01",
            "+2:00:5e:10:00:01",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
