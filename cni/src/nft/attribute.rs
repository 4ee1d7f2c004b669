//! Netlink attributes: length, type, value, padded to four bytes. Pure.

/// Attributes on their way to the kernel. Numbers are in network byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(self, kind: u16, value: &[u8]) -> Self {
        self.attribute(kind, value)
    }

    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// `NLA_F_NESTED` marks an attribute that holds attributes.
    pub(crate) fn nested(self, kind: u16, value: &Self) -> Self {
        self.attribute(kind | 0x8000, &value.0)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// Attributes as the kernel wrote them, with their types freed of flags. Ends at the first that is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const TYPE: u16 = 0x3fff;
        let ([l0, l1, k0, k1], _) = self.0.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([*k0, *k1]) & TYPE, value))
    }
}

impl<'a> Reader<'a> {
    /// The value of the first attribute of type `kind`.
    pub(crate) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }

    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.find(kind).map(Self)
    }

    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        self.find(kind)?.first_chunk().map(|number| u32::from_be_bytes(*number))
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        self.find(kind).map(text)
    }
}

/// Text up to its terminating zero.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// A comment as `nft` keeps it in userdata: type (always 0 for a comment), length, text with its end.
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
    fn attributes_are_padded_and_numbers_are_in_network_order() {
        let attributes = Attributes::new().text(1, "ab").number(2, 1);
        assert_eq!(attributes.0, [7, 0, 1, 0, b'a', b'b', 0, 0, 8, 0, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_was_written_reads_back_and_a_cut_ends_the_reading() {
        let inner = Attributes::new().text(3, "tripod");
        let attributes = Attributes::new().nested(1, &inner).number(2, 7);
        let reader = Reader(attributes.as_bytes());
        assert_eq!(reader.nested(1).and_then(|inner| inner.text(3)).as_deref(), Some("tripod"));
        assert_eq!(reader.number(2), Some(7));
        assert_eq!(reader.number(9), None);
        for end in 0..attributes.0.len() {
            assert!(Reader(&attributes.0[..end]).count() < 2);
        }
        assert_eq!(Reader(&[2, 0, 1, 0, 2, 0, 1, 0]).next(), None);
    }

    #[test]
    fn a_comment_reads_back_and_a_long_one_is_cut_at_a_character() {
        assert_eq!(read_comment(&comment("c1 eth0")).as_deref(), Some("c1 eth0"));
        let long = read_comment(&comment(&"ü".repeat(100))).unwrap();
        assert_eq!(long.chars().count(), 63);
        assert_eq!(read_comment(&[0, 9, b'x']), None);
        assert_eq!(read_comment(&[]), None);
    }
}
