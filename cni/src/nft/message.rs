//! Tables, chains, rules, and the transactions they change in. Pure.

use std::borrow::Cow;

use super::comment::{comment, read_comment};
use super::expr::Expr;
use super::set::{Datum, Element, Set};
use crate::netlink::{
    Attributes, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Reader, Request,
};

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of every message type of ours.
const SUBSYSTEM: u16 = 10;

/// First and last message of a transaction, `linux/netfilter/nfnetlink.h`.
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

/// Length of `struct nfgenmsg`: family, version (always 0), resource.
pub(crate) const NFGENMSG: usize = 4;

/// Which packets a table sees: the family of tables, as `nft` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `inet`: those of IPv4 and IPv6.
    Inet,
    /// `bridge`: the frames of all bridges.
    Bridge,
}

impl Layer {
    /// `enum nfproto`.
    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Bridge => 7,
        }
    }
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it sees.
    pub layer: Layer,
    /// Its name.
    pub name: &'static str,
}

/// Where a base chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// What the node itself sends, after its first routing.
    Output,
    /// After routing, on the way out.
    Postrouting,
}

/// A base chain whose policy is to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: Cow<'static, str>,
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

impl Chain {
    fn key(&self) -> Attributes {
        Attributes::new().text(1, self.table.name).text(3, &self.name)
    }

    fn encode(&self) -> Attributes {
        let hook = match self.hook {
            Hook::Prerouting => 0,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        };
        let hook = Attributes::new().number(1, hook).bytes(2, &self.priority.to_be_bytes());
        self.key().nested(4, &hook).text(7, self.kind)
    }
}

impl Rule {
    fn encode(&self) -> Attributes {
        let list = encode_all(&self.exprs);
        Attributes::new().text(1, self.chain.table.name).text(2, &self.chain.name).nested(4, &list)
    }
}

fn encode_all(exprs: &[Expr]) -> Attributes {
    exprs.iter().fold(Attributes::new(), |list, expr| list.nested(1, &expr.encode()))
}

/// Where a chain of another's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `nfgen_family` of its table.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

impl Place {
    fn key(&self) -> Attributes {
        Attributes::new().text(1, &self.table).text(2, &self.chain)
    }
}

impl Batch {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::begin(&Attributes::new())
    }

    /// An empty transaction that the kernel refuses with `ERESTART` unless the ruleset is still of
    /// `generation`: nothing has changed since the caller looked.
    pub fn of_generation(generation: u32) -> Self {
        Self::begin(&Attributes::new().number(1, generation))
    }

    fn begin(attributes: &Attributes) -> Self {
        let mut batch = Self::default();
        batch.push(&Request::new(NFNL_MSG_BATCH_BEGIN, 0, &nfgenmsg(0, SUBSYSTEM), attributes));
        batch
    }

    /// Makes `table` unless it is there.
    pub fn add_table(&mut self, table: Table) {
        self.change(table, 0, NLM_F_CREATE, &Attributes::new().text(1, table.name));
    }

    /// Removes `table` and all that is in it; absence is success.
    pub fn remove_table(&mut self, table: Table) {
        const NFT_MSG_DELTABLE: u16 = 2;
        self.add_table(table);
        self.change(table, NFT_MSG_DELTABLE, 0, &Attributes::new().text(1, table.name));
    }

    /// Makes `chain` unless it is there.
    pub fn add_chain(&mut self, chain: &Chain) {
        self.change(chain.table, 3, NLM_F_CREATE, &chain.encode());
    }

    /// Makes `chain`, which is not there, with a comment for [`Nft::chain`](super::Nft::chain) to read.
    pub fn add_chain_with(&mut self, chain: &Chain, text: &str) {
        self.change(chain.table, 3, NLM_F_CREATE, &chain.encode().bytes(12, &comment(text)));
    }

    /// Removes `chain`, which is there and has no rules.
    pub fn remove_chain(&mut self, chain: &Chain) {
        self.change(chain.table, 5, 0, &chain.key());
    }

    /// Makes `set` unless it is there.
    pub fn add_set(&mut self, set: &Set) {
        self.change(set.table, 9, NLM_F_CREATE, &set.encode(self.sequence));
    }

    /// Puts `element` into `set`. `EEXIST` when its key is taken.
    pub fn add_element(&mut self, set: &Set, element: &Element) {
        self.quiet(set.table, 12, NLM_F_CREATE | NLM_F_EXCL, &set.encode_element(element));
    }

    /// Puts `element` into `set` unless it is there; `EEXIST` or `EBUSY` when its key has another value.
    pub fn ensure_element(&mut self, set: &Set, element: &Element) {
        self.quiet(set.table, 12, NLM_F_CREATE, &set.encode_element(element));
    }

    /// Takes the element of `key` out of `set`. `ENOENT` when there is none.
    pub fn remove_element(&mut self, set: &Set, key: &Datum) {
        self.quiet(set.table, 14, 0, &set.encode_key(key));
    }

    /// Appends `rule` to its chain.
    pub fn add_rule(&mut self, rule: &Rule) {
        self.quiet(rule.chain.table, 6, NLM_F_CREATE | NLM_F_APPEND, &rule.encode());
    }

    /// Puts a rule with a comment into another's chain: before the rule of handle `before`, else behind all.
    pub(super) fn place_rule(&mut self, at: &Place, before: Option<u64>, exprs: &[Expr], text: &str) {
        let attributes = at.key().nested(4, &encode_all(exprs)).bytes(7, &comment(text));
        match before {
            // NFTA_RULE_POSITION; without NLM_F_APPEND the kernel takes the place before it.
            Some(handle) => self.say(at.family, 6, NLM_F_CREATE, &attributes.bytes(6, &handle.to_be_bytes())),
            None => self.say(at.family, 6, NLM_F_CREATE | NLM_F_APPEND, &attributes),
        }
    }

    /// Removes the rule of this handle from another's chain.
    pub(super) fn remove_rule(&mut self, at: &Place, handle: u64) {
        self.say(at.family, 8, 0, &at.key().bytes(3, &handle.to_be_bytes()));
    }

    /// Removes all rules of `chain`.
    pub fn flush(&mut self, chain: &Chain) {
        self.change(chain.table, 8, 0, &Attributes::new().text(1, chain.table.name).text(2, &chain.name));
    }

    /// The bytes of the whole transaction.
    pub(super) fn render(mut self) -> Vec<u8> {
        let fixed = nfgenmsg(0, SUBSYSTEM);
        self.push(&Request::new(NFNL_MSG_BATCH_END, 0, &fixed, &Attributes::new()));
        self.messages
    }

    fn change(&mut self, table: Table, message: u16, flags: u16, attributes: &Attributes) {
        self.quiet(table, message, NLM_F_ACK | flags, attributes);
    }

    /// Elements and rules are many, and the answers to all of one transaction must fit the socket's buffer: only
    /// refusals are answered.
    fn quiet(&mut self, table: Table, message: u16, flags: u16, attributes: &Attributes) {
        self.say(table.layer.number(), message, flags, attributes);
    }

    fn say(&mut self, family: u8, message: u16, flags: u16, attributes: &Attributes) {
        self.push(&question(SUBSYSTEM << 8 | message, family, flags, attributes));
    }

    fn push(&mut self, message: &Request) {
        self.sequence += 1;
        message.frame(self.sequence, &mut self.messages);
    }
}

/// What the kernel says of a base chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainState {
    /// How many rules it has.
    pub rules: u32,
    /// Its comment, where it was made with one.
    pub comment: String,
}

/// Asks for `chain` (`NFT_MSG_GETCHAIN`).
pub(super) fn get_chain(chain: &Chain) -> Request {
    question(SUBSYSTEM << 8 | 4, chain.table.layer.number(), 0, &chain.key())
}

/// Reads one answer to [`get_chain`].
pub(super) fn read_chain(answer: Reader<'_>) -> ChainState {
    let comment = answer.find(12).and_then(read_comment).unwrap_or_default();
    ChainState { rules: answer.number(6).unwrap_or(0), comment }
}

/// Asks for all chains of all families.
pub(super) fn get_chains() -> Request {
    question(SUBSYSTEM << 8 | 4, 0, NLM_F_DUMP, &Attributes::new())
}

/// Asks for the rules of one chain.
pub(super) fn get_rules(at: &Place) -> Request {
    question(SUBSYSTEM << 8 | 7, at.family, NLM_F_DUMP, &at.key())
}

/// Asks for the generation of the ruleset.
pub(super) fn get_generation() -> Request {
    question(SUBSYSTEM << 8 | 16, 0, 0, &Attributes::new())
}

/// Asks for the element of `key`.
pub(super) fn get_element(set: &Set, key: &Datum) -> Request {
    question(SUBSYSTEM << 8 | 13, set.table.layer.number(), 0, &set.encode_key(key))
}

/// Asks for all elements of `set`.
pub(super) fn get_elements(set: &Set) -> Request {
    question(SUBSYSTEM << 8 | 13, set.table.layer.number(), NLM_F_DUMP, &set.encode_all())
}

/// One message of netfilter.
pub(crate) fn question(kind: u16, family: u8, flags: u16, attributes: &Attributes) -> Request {
    Request::new(kind, flags, &nfgenmsg(family, 0), attributes)
}

/// `struct nfgenmsg`.
fn nfgenmsg(family: u8, resource: u16) -> [u8; NFGENMSG] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_rules_is_found_behind_other_attributes() {
        let attributes = Attributes::new().text(1, "tripod").text(3, "guard").number(6, 5);
        assert_eq!(
            read_chain(Reader(attributes.as_bytes())),
            ChainState { rules: 5, comment: String::new() }
        );
        let commented = attributes.bytes(12, &comment("x"));
        assert_eq!(read_chain(Reader(commented.as_bytes())).comment, "x");
        assert_eq!(read_chain(Reader(&[])), ChainState::default());
    }

    #[test]
    fn a_transaction_is_framed_by_begin_and_end() {
        let mut batch = Batch::new();
        batch.add_table(Table { layer: Layer::Inet, name: "t" });
        let bytes = batch.render();
        assert_eq!(bytes[4..6], [0x10, 0]);
        assert_eq!(bytes[bytes.len() - 16..bytes.len() - 14], [0x11, 0]);
        assert_eq!(bytes[0..4], [20, 0, 0, 0]);
    }
}
