//! Netlink attributes: length, type, value, padded to four bytes. Pure.

/// Length and type, `struct nlattr` in `linux/netlink.h`.
const NLATTR: usize = 4;

/// Longest value that 16 bits of length have room for.
const LONGEST: usize = 0xffff - NLATTR;

/// Marks an attribute that holds attributes.
const NLA_F_NESTED: u16 = 1 << 15;

/// What is left of a type without its two flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Attributes on their way to the kernel. Families of messages differ in the byte order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Behind a fixed header, whose length is a multiple of four.
    pub(crate) fn behind(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // What is cut the kernel refuses; a length that does not hold would be read as something else.
        let value = value.get(..LONGEST).unwrap_or(value);
        let length = u16::try_from(NLATTR + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A number in network byte order, as netfilter has it.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A number in the machine's byte order, as rtnetlink has it.
    pub(crate) fn native(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Attributes in an attribute that is marked so, as netfilter wants it.
    pub(crate) fn nested(self, kind: u16, value: &Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &value.0)
    }

    /// Attributes in an attribute without the mark, as rtnetlink takes it from the days before there was one.
    pub(crate) fn plain(self, kind: u16, value: &Self) -> Self {
        self.bytes(kind, &value.0)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Attributes as the kernel wrote them, with their types freed of flags. Ends at the first that is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([l0, l1, k0, k1], _) = self.0.split_first_chunk::<NLATTR>()?;
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = self.0.get(NLATTR..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([*k0, *k1]) & NLA_TYPE_MASK, value))
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

    /// A number in network byte order.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        self.find(kind)?.first_chunk().map(|number| u32::from_be_bytes(*number))
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        self.find(kind).map(text)
    }
}

/// The number in the machine's byte order that `value` begins with.
pub(crate) fn native(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|number| u32::from_ne_bytes(*number))
}

/// Text up to its terminating zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_padded_and_numbers_are_in_the_order_that_was_asked_for() {
        let attributes = Attributes::new().text(1, "ab").number(2, 1);
        assert_eq!(attributes.0, [7, 0, 1, 0, b'a', b'b', 0, 0, 8, 0, 2, 0, 0, 0, 0, 1]);
        assert_eq!(Attributes::behind(&[9; 4]).native(2, 1).0, [9, 9, 9, 9, 8, 0, 2, 0, 1, 0, 0, 0]);
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
    fn a_value_beyond_what_a_length_can_say_is_cut_and_what_follows_it_still_found() {
        let attributes = Attributes::new().bytes(1, &[1; LONGEST + 2]).number(2, 7);
        assert_eq!(Reader(attributes.as_bytes()).find(1).map(<[u8]>::len), Some(LONGEST));
        assert_eq!(Reader(attributes.as_bytes()).number(2), Some(7));
    }

    proptest! {
        #[test]
        fn whatever_was_written_reads_back(
            all in prop::collection::vec((0..=NLA_TYPE_MASK, prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        ) {
            let write = |done: Attributes, (kind, value): &(u16, Vec<u8>)| done.bytes(*kind, value);
            let written = all.iter().fold(Attributes::new(), write);
            let read: Vec<_> = Reader(written.as_bytes()).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(&read, &all);
            let outer = Attributes::new().nested(1, &written).plain(2, &written);
            for (_, value) in Reader(outer.as_bytes()) {
                prop_assert_eq!(value, written.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Reader(&bytes).count() <= bytes.len().div_ceil(NLATTR));
            for (_, value) in Reader(&bytes) {
                prop_assert!(value.len() + NLATTR <= bytes.len());
                prop_assert!(text(value).chars().count() <= value.len());
            }
        }
    }
}
