//! Tables, chains, rules, and the transactions they change in. Pure.

use super::expr::Expr;

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of every message type of ours.
const SUBSYSTEM: u16 = 10;
/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
const INET: u8 = 1;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// A table of the `inet` family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
}

/// Where a base chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// After routing, on the way out.
    Postrouting,
}

/// A base chain whose policy is to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: &'static str,
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// Where it sees packets.
    pub hook: Hook,
    /// Lower ones see a packet first.
    pub priority: i32,
}

/// A rule at the end of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its chain.
    pub chain: Chain,
    /// Its instructions.
    pub exprs: Vec<Expr>,
}

/// Changes that the kernel makes all together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    messages: Vec<u8>,
    sequence: u32,
}

/// Netlink attributes: length, type, value, padded to four bytes. Numbers are in network byte order.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(self, kind: u16, value: &[u8]) -> Self {
        self.attribute(kind, value)
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// `NLA_F_NESTED` marks an attribute that holds attributes.
    pub(super) fn nested(self, kind: u16, value: &Self) -> Self {
        self.attribute(kind | 0x8000, &value.0)
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

impl Chain {
    fn key(&self) -> Attributes {
        Attributes::new().text(1, self.table.name).text(3, self.name)
    }

    fn encode(&self) -> Attributes {
        let hook = match self.hook {
            Hook::Prerouting => 0,
            Hook::Postrouting => 4,
        };
        let hook = Attributes::new().number(1, hook).bytes(2, &self.priority.to_be_bytes());
        self.key().nested(4, &hook).text(7, self.kind)
    }
}

impl Rule {
    fn encode(&self) -> Attributes {
        let list = self.exprs.iter().fold(Attributes::new(), |list, expr| list.nested(1, &expr.encode()));
        Attributes::new().text(1, self.chain.table.name).text(2, self.chain.name).nested(4, &list)
    }
}

impl Batch {
    /// An empty transaction.
    pub fn new() -> Self {
        let mut batch = Self::default();
        batch.push(Header { kind: 0x10, flags: REQUEST, family: 0, resource: SUBSYSTEM }, &Attributes::new());
        batch
    }

    /// Makes `table` unless it is there.
    pub fn add_table(&mut self, table: Table) {
        self.change(0, CREATE, &Attributes::new().text(1, table.name));
    }

    /// Makes `chain` unless it is there.
    pub fn add_chain(&mut self, chain: &Chain) {
        self.change(3, CREATE, &chain.encode());
    }

    /// Appends `rule` to its chain.
    pub fn add_rule(&mut self, rule: &Rule) {
        self.change(6, CREATE | APPEND, &rule.encode());
    }

    /// Removes all rules of `chain`.
    pub fn flush(&mut self, chain: &Chain) {
        self.change(8, 0, &Attributes::new().text(1, chain.table.name).text(2, chain.name));
    }

    /// The bytes of the whole transaction.
    pub(super) fn render(mut self) -> Vec<u8> {
        self.push(Header { kind: 0x11, flags: REQUEST, family: 0, resource: SUBSYSTEM }, &Attributes::new());
        self.messages
    }

    fn change(&mut self, message: u16, flags: u16, attributes: &Attributes) {
        let kind = SUBSYSTEM << 8 | message;
        self.push(Header { kind, flags: REQUEST | ACK | flags, family: INET, resource: 0 }, attributes);
    }

    fn push(&mut self, header: Header, attributes: &Attributes) {
        self.sequence += 1;
        self.messages.extend(header.frame(self.sequence, attributes));
    }
}

/// Asks for `chain` (`NFT_MSG_GETCHAIN`).
pub(super) fn get_chain(chain: &Chain) -> Vec<u8> {
    Header { kind: SUBSYSTEM << 8 | 4, flags: REQUEST | ACK, family: INET, resource: 0 }
        .frame(1, &chain.key())
}

/// `NFTA_CHAIN_USE` of an answer to [`get_chain`]: how many rules a base chain has.
pub(super) fn read_use(answer: &[u8]) -> Option<u32> {
    const USE: u16 = 6;
    let mut attributes = answer.get(Header::LENGTH..)?;
    while let Some(([l0, l1, k0, k1], rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        if u16::from_ne_bytes([*k0, *k1]) == USE {
            return rest.first_chunk::<4>().map(|number| u32::from_be_bytes(*number));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// `struct nlmsghdr` and `struct nfgenmsg`.
struct Header {
    kind: u16,
    flags: u16,
    family: u8,
    resource: u16,
}

impl Header {
    const LENGTH: usize = 20;

    fn frame(self, sequence: u32, attributes: &Attributes) -> Vec<u8> {
        let length = u32::try_from(Self::LENGTH + attributes.0.len()).unwrap_or(u32::MAX);
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(self.kind.to_ne_bytes());
        message.extend(self.flags.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend([self.family, 0]);
        message.extend(self.resource.to_be_bytes());
        message.extend(&attributes.0);
        message
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
    fn the_number_of_rules_is_found_behind_other_attributes() {
        let attributes = Attributes::new().text(1, "tripod").text(3, "guard").number(6, 5);
        let answer = Header { kind: 0, flags: 0, family: INET, resource: 0 }.frame(1, &attributes);
        assert_eq!(read_use(&answer), Some(5));
        assert_eq!(read_use(&answer[..30]), None);
        assert_eq!(read_use(&[]), None);
    }

    #[test]
    fn a_transaction_is_framed_by_begin_and_end() {
        let mut batch = Batch::new();
        batch.add_table(Table { name: "t" });
        let bytes = batch.render();
        assert_eq!(bytes[4..6], [0x10, 0]);
        assert_eq!(bytes[bytes.len() - 16..bytes.len() - 14], [0x11, 0]);
        assert_eq!(bytes[0..4], [20, 0, 0, 0]);
    }
}
