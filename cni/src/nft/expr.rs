//! Expressions: the instructions of a rule. Pure.

use ipnetwork::IpNetwork;

use crate::netlink::Attributes;

/// The register that values pass through between two instructions (`NFT_REG_1`).
const REGISTER: u32 = 1;

/// `NFT_REG32_00`: the first of the 32-bit words that the registers consist of.
const FIRST_WORD: u32 = 8;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is gone.
    Drop,
    /// This table is done with it, and it goes on.
    Accept,
    /// This chain is done with it.
    Return,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Load the link group of the interface the packet came in by.
    IncomingGroup,
    /// Load the link group of the interface the packet leaves by.
    OutgoingGroup,
    /// Load the name of the interface the packet came in by, 16 bytes.
    IncomingName,
    /// Load the name of the interface the packet leaves by, 16 bytes.
    OutgoingName,
    /// Load the packet's mark, in host order.
    Mark,
    /// Load the packet's family, `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    Family,
    /// Load the transport protocol, behind any IPv6 extension headers.
    Protocol,
    /// Load the Ethernet type, for a table of layer `bridge`.
    EtherType,
    /// Load bytes of the Ethernet header.
    Link {
        /// From this byte on.
        offset: u32,
        /// So many.
        length: u32,
    },
    /// Load bytes of the network header.
    Network {
        /// From this byte on.
        offset: u32,
        /// So many.
        length: u32,
    },
    /// Load bytes of the transport header.
    Transport {
        /// From this byte on.
        offset: u32,
        /// So many.
        length: u32,
    },
    /// Load the device by which the packet's source would be reached if only the device it came in by
    /// counted; 0 when it would not.
    ReversePath,
    /// Load what kind of address the destination is to this node (`RTN_LOCAL` is 2), in host order.
    DestinationType,
    /// Load the connection's status bits (`IPS_DST_NAT` is 32), in host order.
    ConnectionStatus,
    /// Load so many 32-bit words behind the place where others load: a further part of a concatenation.
    Beside(u32, Box<Self>),
    /// Go on when the loaded value is in the set of this name.
    InSet(&'static str),
    /// Go on when the loaded value is not in the set of this name.
    NotInSet(&'static str),
    /// Replace the loaded value by what the map of this name has for it; without an entry, go no further.
    Map(&'static str),
    /// Send the connection to the loaded address and port.
    DestinationNat(Family),
    /// Keep the bits of the loaded value that are set here.
    Mask(Vec<u8>),
    /// Go on when the loaded value is this one.
    Equal(Vec<u8>),
    /// Go on when the loaded value is another.
    NotEqual(Vec<u8>),
    /// Decide.
    Verdict(Verdict),
    /// Rewrite the source to the outgoing device's address, from a random port.
    Masquerade,
}

/// Version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of `address`.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `enum nfproto`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Words that an address takes.
    pub(super) fn words(self) -> u32 {
        match self {
            Self::V4 => 1,
            Self::V6 => 4,
        }
    }
}

/// Side of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// Goes on for packets whose address on `side` lies in `prefix`.
pub(super) fn address_in(side: Side, prefix: IpNetwork) -> Vec<Expr> {
    let family = Family::of(prefix.ip());
    let (masked, address) = masked(load_address(side, family), prefix);
    [of_family(family), masked, vec![Expr::Equal(address)]].concat()
}

/// Loads as much of an address as `prefix` has, and what that is for an address inside of it.
pub(super) fn masked(load: Expr, prefix: IpNetwork) -> (Vec<Expr>, Vec<u8>) {
    let (address, mask) = match prefix {
        IpNetwork::V4(v4) => (v4.network().octets().to_vec(), v4.mask().octets().to_vec()),
        IpNetwork::V6(v6) => (v6.network().octets().to_vec(), v6.mask().octets().to_vec()),
    };
    let whole = mask.iter().all(|byte| *byte == 0xff);
    (if whole { vec![load] } else { vec![load, Expr::Mask(mask)] }, address)
}

/// Goes on for packets of `family`.
pub(super) fn of_family(family: Family) -> Vec<Expr> {
    vec![Expr::Family, Expr::Equal(vec![family.number()])]
}

/// Loads the address on `side`.
pub(super) fn load_address(side: Side, family: Family) -> Expr {
    let (offset, length) = match (family, side) {
        (Family::V4, Side::Source) => (12, 4),
        (Family::V4, Side::Destination) => (16, 4),
        (Family::V6, Side::Source) => (8, 16),
        (Family::V6, Side::Destination) => (24, 16),
    };
    Expr::Network { offset, length }
}

/// Loads parts of a concatenation, each with the number of 32-bit words that it takes.
pub(super) fn concatenation(parts: impl IntoIterator<Item = (Expr, u32)>) -> Vec<Expr> {
    let mut at = 0;
    let beside = |(load, words): (Expr, u32)| {
        let expr = if at == 0 { load } else { Expr::Beside(at, Box::new(load)) };
        at += words;
        expr
    };
    parts.into_iter().map(beside).collect()
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Self::IncomingGroup | Self::OutgoingGroup | Self::IncomingName | Self::OutgoingName => "meta",
            Self::Mark | Self::Family | Self::Protocol | Self::EtherType => "meta",
            Self::Link { .. } | Self::Network { .. } | Self::Transport { .. } => "payload",
            Self::ReversePath | Self::DestinationType => "fib",
            Self::ConnectionStatus => "ct",
            Self::Beside(_, load) => load.name(),
            Self::InSet(_) | Self::NotInSet(_) | Self::Map(_) => "lookup",
            Self::DestinationNat(_) => "nat",
            Self::Mask(_) => "bitwise",
            Self::Equal(_) | Self::NotEqual(_) => "cmp",
            Self::Verdict(_) => "immediate",
            Self::Masquerade => "masq",
        }
    }

    /// `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
    pub(super) fn encode(&self) -> Attributes {
        Attributes::new().text(1, self.name()).nested(2, &self.data())
    }

    fn data(&self) -> Attributes {
        match self {
            Self::Beside(words, load) => load.load(FIRST_WORD + words),
            Self::InSet(name) => Attributes::new().text(1, name).number(2, REGISTER),
            // NFT_LOOKUP_F_INV
            Self::NotInSet(name) => Attributes::new().text(1, name).number(2, REGISTER).number(5, 1),
            Self::Map(name) => Attributes::new().text(1, name).number(2, REGISTER).number(3, REGISTER),
            Self::DestinationNat(family) => destination_nat(*family),
            Self::Mask(mask) => bitwise(mask),
            // NFT_CMP_EQ and NFT_CMP_NEQ
            Self::Equal(value) => compare(0, value),
            Self::NotEqual(value) => compare(1, value),
            Self::Verdict(verdict) => immediate(*verdict),
            // NFTA_MASQ_FLAGS: NF_NAT_RANGE_PROTO_RANDOM_FULLY.
            Self::Masquerade => Attributes::new().number(1, 1 << 4),
            load => load.load(REGISTER),
        }
    }

    /// What loads a value into `register`.
    fn load(&self, register: u32) -> Attributes {
        let into = |numbers: &[u32]| {
            let kinds = 2u16..;
            let first = Attributes::new().number(1, register);
            kinds.zip(numbers).fold(first, |attributes, (kind, number)| attributes.number(kind, *number))
        };
        match self {
            Self::IncomingGroup => into(&[21]),
            Self::OutgoingGroup => into(&[22]),
            Self::IncomingName => into(&[6]),
            Self::OutgoingName => into(&[7]),
            Self::Mark => into(&[3]),
            Self::Family => into(&[15]),
            Self::Protocol => into(&[16]),
            Self::EtherType => into(&[1]),
            Self::Link { offset, length } => into(&[0, *offset, *length]),
            Self::Network { offset, length } => into(&[1, *offset, *length]),
            Self::Transport { offset, length } => into(&[2, *offset, *length]),
            // NFT_FIB_RESULT_OIF; NFTA_FIB_F_SADDR and NFTA_FIB_F_IIF.
            Self::ReversePath => into(&[1, 1 | 8]),
            // NFT_FIB_RESULT_ADDRTYPE; NFTA_FIB_F_DADDR.
            Self::DestinationType => into(&[3, 2]),
            // NFT_CT_STATUS.
            Self::ConnectionStatus => into(&[2]),
            // The others load nothing.
            _ => Attributes::new(),
        }
    }
}

/// `NFT_NAT_DNAT` to the address in the register and the port behind it.
fn destination_nat(family: Family) -> Attributes {
    let port = FIRST_WORD + family.words();
    Attributes::new().number(1, 1).number(2, u32::from(family.number())).number(3, REGISTER).number(5, port)
}

fn bitwise(mask: &[u8]) -> Attributes {
    let value = |bytes: &[u8]| Attributes::new().bytes(1, bytes);
    Attributes::new()
        .number(1, REGISTER)
        .number(2, REGISTER)
        .number(3, u32::try_from(mask.len()).unwrap_or(u32::MAX))
        .nested(4, &value(mask))
        .nested(5, &value(&vec![0; mask.len()]))
}

fn compare(operation: u32, value: &[u8]) -> Attributes {
    Attributes::new().number(1, REGISTER).number(2, operation).nested(3, &Attributes::new().bytes(1, value))
}

fn immediate(verdict: Verdict) -> Attributes {
    let code: i32 = match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
        Verdict::Return => -5,
    };
    let verdict = Attributes::new().bytes(1, &code.to_be_bytes());
    Attributes::new().number(1, 0).nested(2, &Attributes::new().nested(2, &verdict))
}
