//! Expressions: the instructions of a rule. Pure.

use ipnetwork::IpNetwork;

use super::message::Attributes;

/// The register that values pass through between two instructions (`NFT_REG_1`).
const REGISTER: u32 = 1;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is gone.
    Drop,
    /// This chain is done with it.
    Return,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Load the link group of the interface the packet came in by.
    IncomingGroup,
    /// Load the packet's family, `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    Family,
    /// Load the transport protocol, behind any IPv6 extension headers.
    Protocol,
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
    /// Keep the bits of the loaded value that are set here.
    Mask(Vec<u8>),
    /// Go on when the loaded value is this one.
    Equal(Vec<u8>),
    /// Decide.
    Verdict(Verdict),
    /// Rewrite the source to the outgoing device's address, from a random port.
    Masquerade,
}

/// Side of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// Goes on for packets whose address on `side` lies in `prefix`.
pub(super) fn address_in(side: Side, prefix: IpNetwork) -> Vec<Expr> {
    let (family, offset, address, mask) = match prefix {
        IpNetwork::V4(v4) => {
            let offset = if side == Side::Source { 12 } else { 16 };
            (nfproto::IPV4, offset, v4.network().octets().to_vec(), v4.mask().octets().to_vec())
        }
        IpNetwork::V6(v6) => {
            let offset = if side == Side::Source { 8 } else { 24 };
            (nfproto::IPV6, offset, v6.network().octets().to_vec(), v6.mask().octets().to_vec())
        }
    };
    let length = if prefix.is_ipv4() { 4 } else { 16 };
    let mut exprs = vec![Expr::Family, Expr::Equal(vec![family]), Expr::Network { offset, length }];
    if mask.iter().any(|byte| *byte != 0xff) {
        exprs.push(Expr::Mask(mask));
    }
    exprs.push(Expr::Equal(address));
    exprs
}

/// `enum nfproto`.
mod nfproto {
    pub(super) const IPV4: u8 = 2;
    pub(super) const IPV6: u8 = 10;
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Self::IncomingGroup | Self::Family | Self::Protocol => "meta",
            Self::Network { .. } | Self::Transport { .. } => "payload",
            Self::ReversePath => "fib",
            Self::Mask(_) => "bitwise",
            Self::Equal(_) => "cmp",
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
            Self::IncomingGroup => meta(21),
            Self::Family => meta(15),
            Self::Protocol => meta(16),
            Self::Network { offset, length } => payload(1, *offset, *length),
            Self::Transport { offset, length } => payload(2, *offset, *length),
            // NFTA_FIB_RESULT: NFT_FIB_RESULT_OIF; NFTA_FIB_FLAGS: SADDR and IIF.
            Self::ReversePath => Attributes::new().number(1, REGISTER).number(2, 1).number(3, 1 | 8),
            Self::Mask(mask) => bitwise(mask),
            // NFT_CMP_EQ
            Self::Equal(value) => compare(0, value),
            Self::Verdict(verdict) => immediate(*verdict),
            // NFTA_MASQ_FLAGS: NF_NAT_RANGE_PROTO_RANDOM_FULLY.
            Self::Masquerade => Attributes::new().number(1, 1 << 4),
        }
    }
}

fn meta(key: u32) -> Attributes {
    Attributes::new().number(1, REGISTER).number(2, key)
}

fn payload(base: u32, offset: u32, length: u32) -> Attributes {
    Attributes::new().number(1, REGISTER).number(2, base).number(3, offset).number(4, length)
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
        Verdict::Return => -5,
    };
    let verdict = Attributes::new().bytes(1, &code.to_be_bytes());
    Attributes::new().number(1, 0).nested(2, &Attributes::new().nested(2, &verdict))
}
