//! Comments, as `nft` keeps them in userdata: type (always 0 for a comment), length, text with its end. Pure.

use crate::netlink::text;

/// The userdata of a comment.
pub(super) fn comment(text: &str) -> Vec<u8> {
    /// `nft` reads no longer one.
    const LONGEST: usize = 127;
    let text = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default();
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// The comment in `userdata`.
pub(super) fn read_comment(userdata: &[u8]) -> Option<String> {
    match userdata {
        [0, length, rest @ ..] => rest.get(..usize::from(*length)).map(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_reads_back_and_a_long_one_is_cut_at_a_character() {
        assert_eq!(read_comment(&comment("c1 eth0")).as_deref(), Some("c1 eth0"));
        let long = read_comment(&comment(&"ü".repeat(100))).unwrap();
        assert_eq!(long.chars().count(), 63);
        assert_eq!(read_comment(&[0, 9, b'x']), None);
        assert_eq!(read_comment(&[]), None);
    }
}
