//! Netlink: the framing of requests and answers (`linux/netlink.h`), their attributes, and one socket for
//! all protocols over it. What the messages say is known to [`rtnl`](crate::rtnl), [`nft`](crate::nft) and
//! [`conntrack`](crate::conntrack).
//!
//! Our own, because a program that is executed once per pod pays for what it contains: the crates for it
//! know every attribute of every message, decode all of them in each answer, and were a fifth of the text.

mod attribute;
mod message;
mod socket;

pub(crate) use attribute::{Attributes, Reader, native, text};
#[cfg(test)]
pub(crate) use message::Messages;
pub(crate) use message::{
    Message, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, Request,
};
pub(crate) use socket::{Answers, Protocol, Socket};
