//! Sets and maps, and what is in them. Pure.

use std::net::IpAddr;

use super::comment::{comment, read_comment};
use super::message::Table;
use crate::netlink::{Attributes, Reader};

/// One part of a key or of a map's value, by the type that `nft` prints it as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Address4,
    /// An IPv6 address.
    Address6,
    /// A hardware address.
    Mac,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// An interface's name.
    Interface,
}

/// A named set, or a map when it has values. Both halves may be concatenations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: &'static str,
    /// Parts of its keys.
    pub key: &'static [Field],
    /// Parts of its values; none in a plain set.
    pub value: &'static [Field],
}

/// A concatenation: its parts, each padded to four bytes, as registers hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Datum(Vec<u8>);

/// What is in a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// What it is found by.
    pub key: Datum,
    /// What a map answers; empty in a plain set.
    pub value: Datum,
    /// Shown by `nft list`; cut to 127 bytes.
    pub comment: String,
}

impl Field {
    /// The number by which `nft` knows the type.
    fn kind(self) -> u32 {
        match self {
            Self::Address4 => 7,
            Self::Address6 => 8,
            Self::Mac => 9,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Interface => 41,
        }
    }

    /// Bytes that the field takes in registers, a multiple of four.
    pub(super) fn width(self) -> u32 {
        match self {
            Self::Address4 | Self::Protocol | Self::Port => 4,
            Self::Mac => 8,
            Self::Address6 | Self::Interface => 16,
        }
    }

    /// Bytes of a value that stands alone.
    fn length(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Mac => 6,
            other => other.width(),
        }
    }
}

/// A concatenation's type holds six bits for each part.
fn kind(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |kind, field| kind << 6 | field.kind())
}

/// Alone a value has its own length; parts of a concatenation are padded.
fn length(fields: &[Field]) -> u32 {
    match fields {
        [only] => only.length(),
        several => several.iter().map(|field| field.width()).sum(),
    }
}

impl Datum {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a part of some bytes.
    pub fn then(mut self, part: &[u8]) -> Self {
        self.0.extend(part);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an address.
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.then(&v4.octets()),
            IpAddr::V6(v6) => self.then(&v6.octets()),
        }
    }

    /// Appends an interface's name; the kernel knows none of more than 15 bytes.
    pub fn interface(self, name: &str) -> Self {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(16, 0);
        self.then(&padded)
    }

    /// The bytes, of which a part begins at each multiple of four.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn encode(&self, fields: &[Field]) -> Attributes {
        // A value that stands alone is not padded.
        let length = usize::try_from(length(fields)).unwrap_or(usize::MAX).min(self.0.len());
        Attributes::new().bytes(1, self.0.get(..length).unwrap_or_default())
    }
}

impl Set {
    /// `struct nft_set` in attributes. The identifier must be there and differ within a transaction;
    /// rules find the set by its name.
    pub(super) fn encode(&self, id: u32) -> Attributes {
        /// `NFT_SET_MAP`.
        const MAP: u32 = 8;
        let named = self.key().number(10, id).number(4, kind(self.key)).number(5, length(self.key));
        if self.value.is_empty() {
            return named.number(3, 0);
        }
        named.number(3, MAP).number(6, kind(self.value)).number(7, length(self.value))
    }

    fn key(&self) -> Attributes {
        Attributes::new().text(1, self.table.name).text(2, self.name)
    }

    /// The whole of `element`.
    pub(super) fn encode_element(&self, element: &Element) -> Attributes {
        let mut attributes = Attributes::new().nested(1, &element.key.encode(self.key));
        if !self.value.is_empty() {
            attributes = attributes.nested(2, &element.value.encode(self.value));
        }
        if !element.comment.is_empty() {
            attributes = attributes.bytes(6, &comment(&element.comment));
        }
        self.list(&attributes)
    }

    /// Names an element by its key.
    pub(super) fn encode_key(&self, key: &Datum) -> Attributes {
        self.list(&Attributes::new().nested(1, &key.encode(self.key)))
    }

    /// All elements.
    pub(super) fn encode_all(&self) -> Attributes {
        self.key()
    }

    fn list(&self, element: &Attributes) -> Attributes {
        self.key().nested(3, &Attributes::new().nested(1, element))
    }
}

/// The elements in the attributes of one answer.
pub(super) fn read_elements(attributes: Reader<'_>) -> impl Iterator<Item = Element> {
    let list = attributes.nested(3).into_iter().flatten();
    list.map(|(_, element)| Reader(element)).map(|element| {
        let bytes = |kind: u16| element.nested(kind).and_then(|data| data.find(1)).unwrap_or_default();
        let datum = |kind: u16| Datum::new().then(bytes(kind));
        Element {
            key: datum(1),
            value: datum(2),
            comment: element.find(6).and_then(read_comment).unwrap_or_default(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::Layer;
    use super::*;

    const TABLE: Table = Table { layer: Layer::Inet, name: "t" };
    const MAP: Set = Set {
        table: TABLE,
        name: "m",
        key: &[Field::Protocol, Field::Address6, Field::Port],
        value: &[Field::Address6, Field::Port],
    };

    #[test]
    fn the_type_of_a_concatenation_is_that_of_its_parts() {
        assert_eq!(kind(MAP.key), 0xc20d);
        assert_eq!((length(MAP.key), kind(MAP.value), length(MAP.value)), (24, 0x20d, 20));
        assert_eq!(length(&[Field::Port]), 2);
        assert_eq!(
            (kind(&[Field::Interface, Field::Interface]), length(&[Field::Mac, Field::Port])),
            (0xa69, 12)
        );
    }

    #[test]
    fn parts_are_padded_between_and_behind() {
        let datum = Datum::new().then(&[6]).address("10.0.0.1".parse().unwrap()).then(&[0, 80]);
        assert_eq!(datum.bytes(), [6, 0, 0, 0, 10, 0, 0, 1, 0, 80, 0, 0]);
        let alone = Datum::new().then(&80u16.to_be_bytes()).encode(&[Field::Port]);
        assert_eq!(alone.as_bytes(), [6, 0, 1, 0, 0, 80, 0, 0]);
    }

    #[test]
    fn an_element_reads_back() {
        let address: IpAddr = "fd00::1".parse().unwrap();
        let element = Element {
            key: Datum::new().then(&[6]).address(address).then(&[0, 80]),
            value: Datum::new().address(address).then(&[31, 144]),
            comment: "c1 eth0".into(),
        };
        let encoded = MAP.encode_element(&element);
        assert_eq!(read_elements(Reader(encoded.as_bytes())).collect::<Vec<_>>(), [element]);
        assert_eq!(read_elements(Reader(&encoded.as_bytes()[..20])).count(), 0);
    }
}
