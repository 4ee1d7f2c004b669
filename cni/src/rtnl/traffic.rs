//! Traffic control: token buckets, and the detour of what a link receives. Messages and their verbs.
//!
//! A queueing discipline works on what leaves a device. What a device receives is sent on through an
//! intermediate functional block (ifb), where it leaves and can be held back.

use std::io;

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::message::request;
use super::{Message, Rtnl};

/// Our token buckets are told from others by this handle ("tp" in ASCII).
const BUCKET: TcHandle = TcHandle { major: 0x7470, minor: 0 };

/// The handle of every device's ingress discipline; the kernel allows no other.
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0 };

/// Our detours are told from other filters by their priority.
const PRIORITY: u16 = 0x7470;

/// Attribute numbers of `linux/pkt_sched.h`, `linux/pkt_cls.h` and `linux/tc_act/tc_mirred.h`.
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;

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
        self.change(new_ifb(name, group, mtu))
    }

    /// Holds back what leaves a device. `EEXIST` when somebody else does already.
    pub(crate) fn add_bucket(&self, index: u32, bucket: &Bucket) -> io::Result<()> {
        self.change(new_bucket(index, bucket))
    }

    /// Removes our token bucket from a device, and no other's: `EINVAL` and `ENOENT` say that it is not
    /// there.
    pub(crate) fn delete_bucket(&self, index: u32) -> io::Result<()> {
        let message =
            RouteNetlinkMessage::DelQueueDiscipline(discipline(index, BUCKET, TcHandle::ROOT, "tbf"));
        self.change(request(message, NLM_F_ACK))
    }

    /// Makes room for filters on what a device receives. `EEXIST` when somebody else did already.
    pub(crate) fn add_ingress(&self, index: u32) -> io::Result<()> {
        self.change(new(RouteNetlinkMessage::NewQueueDiscipline(ingress(index))))
    }

    /// Removes a device's ingress discipline with all filters on it.
    pub(crate) fn delete_ingress(&self, index: u32) -> io::Result<()> {
        self.change(request(RouteNetlinkMessage::DelQueueDiscipline(ingress(index)), NLM_F_ACK))
    }

    /// Sends everything that device `from` receives through device `to`.
    pub(crate) fn add_detour(&self, from: u32, to: u32) -> io::Result<()> {
        self.change(new(RouteNetlinkMessage::NewTrafficFilter(detour(from, to))))
    }

    /// Removes our detour, where others put filters beside it.
    pub(crate) fn delete_detour(&self, from: u32) -> io::Result<()> {
        self.change(request(RouteNetlinkMessage::DelTrafficFilter(filter(from)), NLM_F_ACK))
    }

    /// Whether a device has our token bucket. A dump, and so not for ADD or DEL.
    pub(crate) fn has_bucket(&self, index: u32) -> io::Result<bool> {
        let mut of_device = TcMessage::default();
        of_device.header.index = index.cast_signed();
        let dump = request(RouteNetlinkMessage::GetQueueDiscipline(of_device), NLM_F_DUMP);
        Ok(self.send(dump)?.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(one) => {
                one.header.index == index.cast_signed() && one.header.handle == BUCKET
            }
            _ => false,
        }))
    }

    /// Whether our detour, and whether another filter, is on what a device receives.
    pub(crate) fn filters(&self, index: u32) -> io::Result<(bool, bool)> {
        let mut of_device = TcMessage::default();
        of_device.header.index = index.cast_signed();
        of_device.header.parent = INGRESS;
        let dump = request(RouteNetlinkMessage::GetTrafficFilter(of_device), NLM_F_DUMP);
        let answers = self.send(dump)?;
        let priorities = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter.header.info >> 16),
            _ => None,
        });
        let (ours, others): (Vec<_>, Vec<_>) = priorities.partition(|one| *one == u32::from(PRIORITY));
        Ok((!ours.is_empty(), !others.is_empty()))
    }
}

fn new(message: RouteNetlinkMessage) -> Message {
    request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
}

fn new_ifb(name: &str, group: u32, mtu: u32) -> Message {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Group(group),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]),
    ];
    new(RouteNetlinkMessage::NewLink(link))
}

fn discipline(index: u32, handle: TcHandle, parent: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.handle = handle;
    message.header.parent = parent;
    message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
    message
}

fn ingress(index: u32) -> TcMessage {
    discipline(index, INGRESS, TcHandle::INGRESS, "ingress")
}

/// The kernel derives its own clock's units from bytes where it is told the burst in bytes, and needs
/// no rate table for a link layer that it knows.
fn new_bucket(index: u32, bucket: &Bucket) -> Message {
    let mut message = discipline(index, BUCKET, TcHandle::ROOT, "tbf");
    let options = [
        attribute(TCA_TBF_PARMS, tc_tbf_qopt(bucket)),
        attribute(TCA_TBF_RATE64, bucket.rate.to_ne_bytes().to_vec()),
        attribute(TCA_TBF_BURST, bucket.burst.to_ne_bytes().to_vec()),
    ];
    message.attributes.push(options_of(options.concat()));
    new(RouteNetlinkMessage::NewQueueDiscipline(message))
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
fn detour(from: u32, to: u32) -> TcMessage {
    let mut message = filter(from);
    let mirred = [
        attribute(TCA_ACT_KIND, b"mirred\0".to_vec()),
        attribute(TCA_ACT_OPTIONS, attribute(TCA_MIRRED_PARMS, tc_mirred(to))),
    ];
    let first = attribute(1, mirred.concat());
    let options = [attribute(TCA_U32_ACT, first), attribute(TCA_U32_SEL, tc_u32_sel())];
    message.attributes.push(options_of(options.concat()));
    message
}

fn filter(from: u32) -> TcMessage {
    const ETH_P_ALL: u16 = 3;
    let mut message = discipline(from, TcHandle::UNSPEC, INGRESS, "u32");
    message.header.info = u32::from(PRIORITY) << 16 | u32::from(ETH_P_ALL.to_be());
    message
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

fn options_of(options: Vec<u8>) -> TcAttribute {
    TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options))
}

fn attribute(kind: u16, value: Vec<u8>) -> Vec<u8> {
    let attribute = DefaultNla::new(kind, value);
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkPayload;

    use super::*;

    fn bytes(message: Message) -> Vec<u8> {
        let NetlinkPayload::InnerMessage(inner) = message.payload else { panic!("a message") };
        let mut bytes = vec![0; inner.buffer_len()];
        inner.emit(&mut bytes);
        bytes
    }

    /// What `tc` itself sends, with the four bytes of priority and the flag of a nested attribute as we
    /// write them.
    #[test]
    fn the_detour_is_laid_out_as_the_kernel_reads_it() {
        let message = bytes(new(RouteNetlinkMessage::NewTrafficFilter(detour(3, 4))));
        assert_eq!(message.len(), 140 - 16);
        assert_eq!(message[4..8], 3i32.to_ne_bytes());
        assert_eq!(message[12..20], [0, 0, 0xff, 0xff, 0, 3, 0x70, 0x74]);
        assert_eq!(message[message.len() - 36..][..8], [36, 0, 5, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_rate_beyond_32_bits_is_told_in_64() {
        let bucket = Bucket { rate: 6_250_000_000, burst: 1_000_000, limit: 2_000_000 };
        let message = bytes(new_bucket(4, &bucket));
        let holds = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
        assert!(holds(&u32::MAX.to_ne_bytes()) && holds(&6_250_000_000u64.to_ne_bytes()));
        assert!(holds(&1_000_000u32.to_ne_bytes()) && holds(&2_000_000u32.to_ne_bytes()));
    }
}
