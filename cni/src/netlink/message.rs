//! Netlink messages: a header (`struct nlmsghdr` in `linux/netlink.h`), a fixed part that depends on the
//! family of messages, attributes. Pure.

use std::io;
use std::ops::ControlFlow;

use super::attribute::{Attributes, Reader};

/// Flags of requests.
const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
/// `NLM_F_ROOT` and `NLM_F_MATCH`: all there are.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
/// What is there already is an error.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// Flags of answers: others follow; the list changed while it was being told.
const NLM_F_MULTI: u16 = 0x2;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Types of answers that are netlink's own; those of its users begin at the last.
const NLMSG_ERROR: u16 = 0x2;
const NLMSG_DONE: u16 = 0x3;
const NLMSG_MIN_TYPE: u16 = 0x10;

/// Length of `struct nlmsghdr`.
const NLMSGHDR: usize = 16;

/// A request, whole but for its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// A request of type `kind`: the fixed part, and what there is to say behind it.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8], attributes: &Attributes) -> Self {
        Self { kind, flags: NLM_F_REQUEST | flags, body: [fixed, attributes.as_bytes()].concat() }
    }

    /// `nlmsg_type`.
    pub(crate) fn kind(&self) -> u16 {
        self.kind
    }

    /// Appends the message with number `sequence` to `datagram`.
    pub(crate) fn frame(&self, sequence: u32, datagram: &mut Vec<u8>) {
        let length = u32::try_from(NLMSGHDR + self.body.len()).unwrap_or(u32::MAX);
        datagram.extend(length.to_ne_bytes());
        datagram.extend(self.kind.to_ne_bytes());
        datagram.extend(self.flags.to_ne_bytes());
        datagram.extend(sequence.to_ne_bytes());
        // The kernel puts in who sends.
        datagram.extend([0; 4]);
        datagram.extend(&self.body);
    }
}

/// The messages in what the kernel sent. Ends at the first that is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    flags: u16,
    sequence: u32,
    /// Header and body.
    whole: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let ([l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..], _) =
            self.0.split_first_chunk::<NLMSGHDR>()?;
        let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
        let whole = self.0.get(..length).filter(|whole| whole.len() >= NLMSGHDR)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let [kind, flags] = [[*k0, *k1], [*f0, *f1]].map(u16::from_ne_bytes);
        Some(Message { kind, flags, sequence: u32::from_ne_bytes([*s0, *s1, *s2, *s3]), whole })
    }
}

impl<'a> Message<'a> {
    /// What comes behind the header.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.whole.get(NLMSGHDR..).unwrap_or_default()
    }

    /// What comes behind a fixed part of this length.
    pub(crate) fn attributes(&self, fixed: usize) -> Reader<'a> {
        Reader(self.body().get(fixed..).unwrap_or_default())
    }

    /// The code of an error, or of a dump that ends in one; an acknowledgement's is 0.
    pub(super) fn refusal(&self) -> Option<io::Error> {
        let code = self.body().first_chunk().map(|code| i32::from_ne_bytes(*code))?;
        let refuses = [NLMSG_ERROR, NLMSG_DONE].contains(&self.kind) && code != 0;
        refuses.then(|| io::Error::from_raw_os_error(code.saturating_abs()))
    }
}

/// What one request brought so far.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Messages, without netlink's own.
    pub answers: Vec<u8>,
    /// Whether the answers do not fit each other.
    pub interrupted: bool,
}

impl Collected {
    /// Adds of what `datagram` says to request number `sequence` the messages that are `wanted`. Breaks with
    /// the last of it, or with a refusal.
    pub(super) fn add(
        &mut self,
        datagram: &[u8],
        sequence: u32,
        wanted: &dyn Fn(&Message<'_>) -> bool,
    ) -> ControlFlow<io::Result<()>> {
        for message in Messages(datagram).filter(|message| message.sequence == sequence) {
            if let Some(refusal) = message.refusal() {
                return ControlFlow::Break(Err(refusal));
            }
            self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            let last = message.flags & NLM_F_MULTI == 0 || message.kind < NLMSG_MIN_TYPE;
            if message.kind >= NLMSG_MIN_TYPE && wanted(&message) {
                self.keep(message);
            }
            if last {
                return ControlFlow::Break(Ok(()));
            }
        }
        ControlFlow::Continue(())
    }

    fn keep(&mut self, message: Message<'_>) {
        self.answers.extend(message.whole);
        self.answers.resize(self.answers.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests;
