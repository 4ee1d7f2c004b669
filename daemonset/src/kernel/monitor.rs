//! What the kernel tells of changes, by multicast. It only says that there is something to look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::MulticastGroup;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tripod_cni::nft::base::LINK_GROUP;

use super::{KernelError, PROTOCOL, ruleset};
use crate::report;

/// Ears for changes of links, addresses, routes, neighbours and our tables of nf_tables. They close when it is dropped.
#[derive(Debug)]
pub struct Monitor {
    heard: Arc<Heard>,
    tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Heard {
    news: Notify,
    underlay: AtomicBool,
    overruns: AtomicU64,
}

/// What changed since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Whether it may be something that decides how peers are reached.
    pub underlay: bool,
}

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Who loses messages has been told of more than it could read; it will not be soon over.
const AFTER_OVERRUN: Duration = Duration::from_secs(1);

impl Monitor {
    /// Opens the ears.
    pub fn open() -> Result<Self, KernelError> {
        let heard = Arc::<Heard>::default();
        Ok(Self { tasks: listen(&heard)?, heard })
    }

    /// Waits until something changed. Who stops waiting loses nothing.
    pub async fn changed(&mut self) -> Changes {
        if self.tasks.is_empty() {
            tokio::time::sleep(AFTER_OVERRUN).await;
            match listen(&self.heard) {
                Ok(tasks) => self.tasks = tasks,
                Err(error) => {
                    tracing::warn!(
                        error = report::chain(&error),
                        "cannot hear of changes; looking all the time"
                    );
                }
            }
            // What was said meanwhile may have been anything.
            return Changes { underlay: true };
        }
        tokio::select! {
            () = self.heard.news.notified() => {
                Changes { underlay: self.heard.underlay.swap(false, Ordering::Relaxed) }
            }
            // They hear for ever, unless a socket fails. All are opened anew.
            _ended = self.tasks.join_next() => {
                self.tasks = JoinSet::new();
                Changes { underlay: true }
            }
        }
    }

    /// How often the kernel had more to tell than it could keep. Each time everything is looked at.
    pub fn overruns(&self) -> u64 {
        self.heard.overruns.load(Ordering::Relaxed)
    }
}

fn listen(heard: &Arc<Heard>) -> Result<JoinSet<()>, KernelError> {
    let (connection, _handle, mut messages) =
        rtnetlink::new_multicast_connection(&GROUPS).map_err(KernelError::socket)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let hearer = Arc::clone(heard);
    tasks.spawn(async move {
        while let Some((message, _)) = messages.next().await {
            hearer.hear(&message);
        }
    });
    let ruleset = ruleset::listen().map_err(KernelError::socket)?;
    let hearer = Arc::clone(heard);
    tasks.spawn(async move {
        loop {
            if ruleset::removal(&ruleset).await.is_err() {
                hearer.overruns.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(AFTER_OVERRUN).await;
            }
            hearer.news.notify_one();
        }
    });
    Ok(tasks)
}

impl Heard {
    fn hear(&self, message: &NetlinkMessage<RouteNetlinkMessage>) {
        let concerns = match &message.payload {
            NetlinkPayload::InnerMessage(message) => concerns(message),
            // What was lost may have been anything.
            NetlinkPayload::Overrun(_) => {
                self.overruns.fetch_add(1, Ordering::Relaxed);
                Some(Concern::Underlay)
            }
            _ => None,
        };
        if concerns == Some(Concern::Underlay) {
            self.underlay.store(true, Ordering::Relaxed);
        }
        if concerns.is_some() {
            self.news.notify_one();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    /// Something of ours went away.
    Ours,
    /// How peers are reached may be different.
    Underlay,
}

/// What a message is about. What comes and goes with each pod is nobody's concern, nor is what we add.
fn concerns(message: &RouteNetlinkMessage) -> Option<Concern> {
    use RouteNetlinkMessage as Message;
    match message {
        Message::NewLink(link) | Message::DelLink(link) => (!is_pods(link)).then_some(Concern::Underlay),
        Message::NewAddress(address) | Message::DelAddress(address) => {
            (!is_of_a_link(address)).then_some(Concern::Underlay)
        }
        Message::DelRoute(route) if is_ours(route) => Some(Concern::Ours),
        Message::NewRoute(route) | Message::DelRoute(route) => {
            (!is_ours(route) && !leads_to_a_link(route)).then_some(Concern::Underlay)
        }
        // A flush lets a neighbour fail before it goes, as does one that does not answer.
        Message::NewNeighbour(neighbour) => has_failed(neighbour).then_some(Concern::Ours),
        Message::DelNeighbour(neighbour) => is_permanent(neighbour).then_some(Concern::Ours),
        Message::NewRule(_) | Message::DelRule(_) => Some(Concern::Underlay),
        _ => None,
    }
}

fn is_pods(link: &LinkMessage) -> bool {
    link.attributes.contains(&LinkAttribute::Group(LINK_GROUP))
}

fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::Other(PROTOCOL)
}

/// Whether an address is link-local, as each pod's host end gets one.
fn is_of_a_link(address: &AddressMessage) -> bool {
    address.header.scope == AddressScope::Link
}

/// Whether a route is one of those that come with each link that speaks IPv6.
fn leads_to_a_link(route: &RouteMessage) -> bool {
    route.attributes.iter().any(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => {
            v6.is_unicast_link_local() || v6.is_multicast()
        }
        _ => false,
    })
}

fn has_failed(neighbour: &NeighbourMessage) -> bool {
    neighbour.header.state == NeighbourState::Failed
}

fn is_permanent(neighbour: &NeighbourMessage) -> bool {
    neighbour.header.state == NeighbourState::Permanent
}
