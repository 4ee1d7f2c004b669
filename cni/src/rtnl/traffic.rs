//! Traffic control: token buckets, and the detour of what a link receives. Messages and their verbs.
//!
//! A queueing discipline works on what leaves a device. What a device receives is sent on through an
//! intermediate functional block (ifb), where it leaves and can be held back.

use std::io;

use nix::libc::{
    IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, RTM_DELQDISC, RTM_DELTFILTER,
    RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWLINK, RTM_NEWQDISC, RTM_NEWTFILTER, TCA_KIND, TCA_OPTIONS,
};

use super::Rtnl;
use super::link::Ifinfomsg;
use crate::netlink::{Attributes, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Request};

/// Our token buckets are told from others by this handle ("tp" in ASCII).
const BUCKET: u32 = 0x7470 << 16;

/// The handle of every device's ingress discipline; the kernel allows no other.
const INGRESS: u32 = 0xffff << 16;

/// What a discipline may hang on, `linux/pkt_sched.h`.
const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;

/// Our detours are told from other filters by their priority.
const PRIORITY: u16 = 0x7470;

/// Attribute numbers of `linux/pkt_sched.h`, `linux/pkt_cls.h` and `linux/tc_act/tc_mirred.h`.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;

/// A list of actions numbers them from one.
const FIRST: u16 = 1;

/// What is made must not be there yet.
const NEW: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

/// A token bucket in bytes, as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Bytes per second that flow in.
    pub rate: u64,
    /// Bytes that it holds.
    pub burst: u32,
    /// Bytes that may wait for it.
    pub limit: u32,
}

impl Rtnl {
    /// Creates an ifb device and sets it up.
    pub(crate) fn create_ifb(&self, name: &str, group: u32, mtu: u32) -> io::Result<()> {
        self.change(&new_ifb(name, group, mtu))
    }

    /// Holds back what leaves a device. `EEXIST` when somebody else does already.
    pub(crate) fn add_bucket(&self, index: u32, bucket: &Bucket) -> io::Result<()> {
        self.change(&new_bucket(index, bucket))
    }

    /// Removes our token bucket from a device, and no other's: `EINVAL` and `ENOENT` say that it is not
    /// there.
    pub(crate) fn delete_bucket(&self, index: u32) -> io::Result<()> {
        self.change(&delete_bucket(index))
    }

    /// Makes room for filters on what a device receives. `EEXIST` when somebody else did already.
    pub(crate) fn add_ingress(&self, index: u32) -> io::Result<()> {
        self.change(&ingress(RTM_NEWQDISC, NEW, index))
    }

    /// Removes a device's ingress discipline with all filters on it.
    pub(crate) fn delete_ingress(&self, index: u32) -> io::Result<()> {
        self.change(&ingress(RTM_DELQDISC, NLM_F_ACK, index))
    }

    /// Sends everything that device `from` receives through device `to`.
    pub(crate) fn add_detour(&self, from: u32, to: u32) -> io::Result<()> {
        self.change(&new_detour(from, to))
    }

    /// Removes our detour, where others put filters beside it.
    pub(crate) fn delete_detour(&self, from: u32) -> io::Result<()> {
        self.change(&delete_detour(from))
    }

    /// Whether a device has our token bucket. A dump, and so not for ADD or DEL.
    pub(crate) fn has_bucket(&self, index: u32) -> io::Result<bool> {
        let answers = self.send(&dump(RTM_GETQDISC, index, 0))?;
        let mut disciplines = answers.messages().filter_map(|message| Tcmsg::read(message, RTM_NEWQDISC));
        Ok(disciplines.any(|one| one.index == index && one.handle == BUCKET))
    }

    /// Whether our detour, and whether another filter, is on what a device receives.
    pub(crate) fn filters(&self, index: u32) -> io::Result<(bool, bool)> {
        let answers = self.send(&dump(RTM_GETTFILTER, index, INGRESS))?;
        let filters = answers.messages().filter_map(|message| Tcmsg::read(message, RTM_NEWTFILTER));
        let (ours, others): (Vec<_>, Vec<_>) = filters.partition(|one| one.info >> 16 == u32::from(PRIORITY));
        Ok((!ours.is_empty(), !others.is_empty()))
    }
}

/// `struct tcmsg` in `linux/rtnetlink.h`.
#[derive(Clone, Copy, Debug, Default)]
struct Tcmsg {
    index: u32,
    handle: u32,
    parent: u32,
    /// A filter's priority and protocol.
    info: u32,
}

impl Tcmsg {
    const LENGTH: usize = 20;

    fn request(self, kind: u16, flags: u16, attributes: &Attributes) -> Request {
        // Behind the family, which is none, its padding.
        let fields = [0, self.index, self.handle, self.parent, self.info].map(u32::to_ne_bytes);
        Request::new(kind, flags, fields.as_flattened(), attributes)
    }

    /// The fixed part of an answer of type `kind`.
    fn read(message: Message<'_>, kind: u16) -> Option<Self> {
        let (fields, _) = message.body().first_chunk::<{ Self::LENGTH }>()?.as_chunks::<4>();
        let [_, index, handle, parent, info] = fields else { return None };
        let [index, handle, parent, info] =
            [index, handle, parent, info].map(|field| u32::from_ne_bytes(*field));
        (message.kind == kind).then_some(Self { index, handle, parent, info })
    }
}

pub(super) fn new_ifb(name: &str, group: u32, mtu: u32) -> Request {
    let attributes = Attributes::new()
        .text(IFLA_IFNAME, name)
        .native(IFLA_MTU, mtu)
        .native(IFLA_GROUP, group)
        .plain(IFLA_LINKINFO, &Attributes::new().text(IFLA_INFO_KIND, "ifb"));
    Ifinfomsg::UP.request(RTM_NEWLINK, NEW, &attributes)
}

pub(super) fn dump(kind: u16, index: u32, parent: u32) -> Request {
    Tcmsg { index, parent, ..Tcmsg::default() }.request(kind, NLM_F_DUMP, &Attributes::new())
}

pub(super) fn ingress(kind: u16, flags: u16, index: u32) -> Request {
    let discipline = Tcmsg { index, handle: INGRESS, parent: TC_H_INGRESS, info: 0 };
    discipline.request(kind, flags, &Attributes::new().text(TCA_KIND, "ingress"))
}

fn bucket_of(index: u32) -> (Tcmsg, Attributes) {
    let discipline = Tcmsg { index, handle: BUCKET, parent: TC_H_ROOT, info: 0 };
    (discipline, Attributes::new().text(TCA_KIND, "tbf"))
}

/// The kernel derives its own clock's units from bytes where it is told the burst in bytes, and needs
/// no rate table for a link layer that it knows.
pub(super) fn new_bucket(index: u32, bucket: &Bucket) -> Request {
    let (discipline, kind) = bucket_of(index);
    let options = Attributes::new()
        .bytes(TCA_TBF_PARMS, &tc_tbf_qopt(bucket))
        .bytes(TCA_TBF_RATE64, &bucket.rate.to_ne_bytes())
        .native(TCA_TBF_BURST, bucket.burst);
    discipline.request(RTM_NEWQDISC, NEW, &kind.plain(TCA_OPTIONS, &options))
}

pub(super) fn delete_bucket(index: u32) -> Request {
    let (discipline, kind) = bucket_of(index);
    discipline.request(RTM_DELQDISC, NLM_F_ACK, &kind)
}

/// `struct tc_tbf_qopt`: rate, peak rate, limit, buffer, MTU.
fn tc_tbf_qopt(bucket: &Bucket) -> Vec<u8> {
    const TC_LINKLAYER_ETHERNET: u8 = 1;
    // `struct tc_ratespec`, whose 32 bits are full where the 64 of an attribute say more.
    let rate = u32::try_from(bucket.rate).unwrap_or(u32::MAX);
    let mut bytes = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    bytes.extend(rate.to_ne_bytes());
    bytes.extend([0; 12]);
    bytes.extend(bucket.limit.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// A u32 filter whose only key has an empty mask: it matches everything on every kernel, which not all
/// have `matchall`.
pub(super) fn new_detour(from: u32, to: u32) -> Request {
    let (filter, kind) = filter_of(from);
    let mirred = Attributes::new()
        .text(TCA_ACT_KIND, "mirred")
        .plain(TCA_ACT_OPTIONS, &Attributes::new().bytes(TCA_MIRRED_PARMS, &tc_mirred(to)));
    let options = Attributes::new()
        .plain(TCA_U32_ACT, &Attributes::new().plain(FIRST, &mirred))
        .bytes(TCA_U32_SEL, &tc_u32_sel());
    filter.request(RTM_NEWTFILTER, NEW, &kind.plain(TCA_OPTIONS, &options))
}

pub(super) fn delete_detour(from: u32) -> Request {
    let (filter, kind) = filter_of(from);
    filter.request(RTM_DELTFILTER, NLM_F_ACK, &kind)
}

fn filter_of(from: u32) -> (Tcmsg, Attributes) {
    /// `linux/if_ether.h`, in network byte order.
    const ETH_P_ALL: u16 = 3u16.to_be();
    let info = u32::from(PRIORITY) << 16 | u32::from(ETH_P_ALL);
    let filter = Tcmsg { index: from, handle: 0, parent: INGRESS, info };
    (filter, Attributes::new().text(TCA_KIND, "u32"))
}

/// `struct tc_mirred`: index, capabilities, action, two counters; what to do, and the device.
fn tc_mirred(to: u32) -> Vec<u8> {
    const TC_ACT_STOLEN: u32 = 4;
    const TCA_EGRESS_REDIR: u32 = 1;
    let fields = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to];
    fields.iter().flat_map(|field| field.to_ne_bytes()).collect()
}

/// `struct tc_u32_sel` with one `struct tc_u32_key` of zeros.
fn tc_u32_sel() -> Vec<u8> {
    const TC_U32_TERMINAL: u8 = 1;
    const KEYS: u8 = 1;
    let mut bytes = vec![TC_U32_TERMINAL, 0, KEYS, 0];
    bytes.extend([0; 12 + 16]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(request: &Request) -> Vec<u8> {
        let mut datagram = Vec::new();
        request.frame(1, &mut datagram);
        datagram.split_off(16)
    }

    /// What `tc` itself sends, with the four bytes of priority and the flag of a nested attribute as we
    /// write them.
    #[test]
    fn the_detour_is_laid_out_as_the_kernel_reads_it() {
        let message = bytes(&new_detour(3, 4));
        assert_eq!(message.len(), 140 - 16);
        assert_eq!(message[4..8], 3i32.to_ne_bytes());
        assert_eq!(message[12..20], [0, 0, 0xff, 0xff, 0, 3, 0x70, 0x74]);
        assert_eq!(message[message.len() - 36..][..8], [36, 0, 5, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_rate_beyond_32_bits_is_told_in_64() {
        let bucket = Bucket { rate: 6_250_000_000, burst: 1_000_000, limit: 2_000_000 };
        let message = bytes(&new_bucket(4, &bucket));
        let holds = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
        assert!(holds(&u32::MAX.to_ne_bytes()) && holds(&6_250_000_000u64.to_ne_bytes()));
        assert!(holds(&1_000_000u32.to_ne_bytes()) && holds(&2_000_000u32.to_ne_bytes()));
    }
}
