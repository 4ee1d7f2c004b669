//! How prefixes lie to one another. Pure.

use ipnetwork::IpNetwork;

/// Whether all of `part` lies in `all`.
pub fn contains(all: &IpNetwork, part: &IpNetwork) -> bool {
    all.is_ipv4() == part.is_ipv4() && all.prefix() <= part.prefix() && all.contains(part.network())
}

/// Whether an address lies in both. Of two prefixes one lies in the other, or they are apart.
pub fn overlap(one: &IpNetwork, other: &IpNetwork) -> bool {
    contains(one, other) || contains(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_nest_or_are_apart() {
        let cases = [
            ("10.0.0.0/8", "10.1.0.0/16", true, true),
            ("10.1.0.0/16", "10.0.0.0/8", false, true),
            ("10.1.0.0/16", "10.1.0.0/16", true, true),
            ("10.1.0.0/16", "10.2.0.0/16", false, false),
            ("0.0.0.0/0", "::/0", false, false),
        ];
        for (one, other, within, overlapping) in cases {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(
                (contains(&one, &other), overlap(&one, &other)),
                (within, overlapping),
                "{one} {other}"
            );
        }
    }
}
