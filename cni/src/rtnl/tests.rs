//! Our messages against those of another implementation, the crates `netlink-packet-core` and
//! `netlink-packet-route`.

mod answers;
mod requests;
