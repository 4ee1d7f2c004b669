//! The other nodes, followed through their `TripodNode` objects, and our own object, kept.

mod decide;
mod own;
mod services;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use ipnetwork::IpNetwork;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::ApiError;
use crate::agent::Phase;
use crate::claims::{Claims, Disputed, Verdicts};
use crate::node_facts::Seen;
use crate::observer::Observer;
use crate::report;
use crate::tripod_node::{Claim, TripodNode};

/// What is known of the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbourhood {
    /// What each node says, ourselves among them.
    pub claims: Arc<Claims>,
    /// What Node objects say of those that are disputed.
    pub verdicts: Arc<Verdicts>,
    /// Addresses of Services.
    pub services: Vec<IpNetwork>,
}

/// What the agent knows of other nodes, or why it knows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Nothing yet, for this reason if there is one.
    Unknown(Option<String>),
    /// This.
    Known(Neighbourhood),
}

/// Nodes join in bursts; one look answers all of them.
const SETTLE: Duration = Duration::from_millis(50);
/// Who deletes our object may go on doing so.
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// How long a refused write of our own object rests.
const WRITE_AGAIN: Duration = Duration::from_secs(30);

/// Where to tell what, and what is to be told to the API.
#[derive(Clone, Debug)]
pub struct Posts {
    /// What our Node object says.
    pub seen: watch::Sender<Option<Seen>>,
    /// How far the agent has come.
    pub phase: watch::Receiver<Phase>,
    /// What we say of ourselves, once we know it.
    pub ours: watch::Receiver<Option<Claim>>,
    /// What is known of others.
    pub peers: watch::Sender<Peers>,
    /// Claims of which Node objects decide.
    pub disputed: watch::Receiver<Disputed>,
    /// What has events to be written.
    pub observer: Arc<Observer>,
}

/// What a follower of the other nodes is told once.
pub(super) struct Place<'a> {
    /// Name of our Node.
    pub(super) name: &'a str,
    /// UID of our Node, as long as it exists.
    pub(super) node_uid: watch::Receiver<Option<String>>,
    /// Address of the cluster's own Service.
    pub(super) service: Option<IpAddr>,
    /// How long to wait before all nodes are listed.
    pub(super) rest: Duration,
}

/// Follows the other nodes for ever, and writes what `posts` says of ourselves.
pub(super) async fn follow(client: Client, place: Place<'_>, posts: &mut Posts) -> ApiError {
    sleep(place.rest).await;
    let (verdicts, decided) = watch::channel(Arc::default());
    let decisions = decide::follow(Api::all(client.clone()), posts.disputed.clone(), verdicts);
    let (services, given) = watch::channel(None);
    let looks = services::follow(client.clone(), place.service, services);
    let follower = Follower {
        name: place.name,
        node_uid: place.node_uid,
        objects: Api::all(client),
        coming: BTreeMap::new(),
        claims: BTreeMap::new(),
        is_synced: false,
        decided,
        services: given,
        tell_at: None,
        write_at: None,
        complaint: None,
    };
    tokio::select! {
        never = decisions => match never {},
        never = looks => match never {},
        error = follower.follow(posts) => error,
    }
}

struct Follower<'a> {
    name: &'a str,
    node_uid: watch::Receiver<Option<String>>,
    objects: Api<TripodNode>,
    /// A list that is still coming.
    coming: Claims,
    claims: Claims,
    /// Whether the list has come once.
    is_synced: bool,
    decided: watch::Receiver<Arc<Verdicts>>,
    /// None until they were asked for.
    services: watch::Receiver<Option<Vec<IpNetwork>>>,
    tell_at: Option<Instant>,
    write_at: Option<Instant>,
    complaint: Option<String>,
}

impl Follower<'_> {
    async fn follow(mut self, posts: &mut Posts) -> ApiError {
        let objects = watcher(self.objects.clone(), watcher::Config::default());
        let mut stream = pin!(objects.default_backoff());
        loop {
            tokio::select! {
                next = stream.next() => match next {
                    Some(Ok(event)) => self.take(event),
                    Some(Err(error)) => self.complain(posts, &ApiError::WatchPeers(error)),
                    None => return ApiError::Ended,
                },
                Ok(()) = self.decided.changed() => self.tell_soon(),
                Ok(()) = self.services.changed() => self.tell_soon(),
                Ok(()) = self.node_uid.changed() => self.write_at = Some(Instant::now()),
                Ok(()) = posts.ours.changed() => self.write_at = Some(Instant::now()),
                () = sleep_until(self.tell_at.unwrap_or_else(Instant::now)), if self.tell_at.is_some() => {
                    self.tell(posts);
                }
                () = sleep_until(self.write_at.unwrap_or_else(Instant::now)), if self.write_at.is_some() => {
                    let ours = posts.ours.borrow_and_update().clone();
                    self.write(ours).await;
                }
            }
        }
    }

    fn take(&mut self, event: watcher::Event<TripodNode>) {
        let is_ours = |object: &TripodNode| object.name() == self.name;
        let touches_ours = match &event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => is_ours(object),
            _ => false,
        };
        match event {
            watcher::Event::Init => self.coming.clear(),
            watcher::Event::InitApply(object) => {
                drop(self.coming.insert(object.name().to_owned(), object.claim()))
            }
            watcher::Event::InitDone => {
                self.claims = std::mem::take(&mut self.coming);
                self.is_synced = true;
                self.write_at = Some(Instant::now());
            }
            watcher::Event::Apply(object) => {
                drop(self.claims.insert(object.name().to_owned(), object.claim()))
            }
            watcher::Event::Delete(object) => drop(self.claims.remove(object.name())),
        }
        self.tell_soon();
        if touches_ours && self.is_synced {
            self.write_at.get_or_insert_with(|| Instant::now() + WRITE_PAUSE);
        }
    }

    fn tell_soon(&mut self) {
        if self.is_synced {
            self.tell_at.get_or_insert_with(|| Instant::now() + SETTLE);
        }
    }

    fn tell(&mut self, posts: &Posts) {
        self.tell_at = None;
        // Asking for them ends soon, one way or the other, and then there is more to tell.
        let Some(services) = self.services.borrow_and_update().clone() else { return };
        self.complaint = None;
        let claims = Arc::new(self.claims.clone());
        let verdicts = self.decided.borrow_and_update().clone();
        let news = Peers::Known(Neighbourhood { claims, verdicts, services });
        posts.peers.send_if_modified(|peers| {
            let is_new = *peers != news;
            *peers = news;
            is_new
        });
    }

    /// Makes our own object say what is true, unless it does. Of a Node that is gone, or was made anew since, it
    /// says nothing: the object went with it, and must not come back.
    async fn write(&mut self, ours: Option<Claim>) {
        self.write_at = None;
        let Some(ours) = ours.filter(|ours| self.node_uid.borrow().as_ref() == Some(&ours.node_uid)) else {
            return;
        };
        let is_written = self.claims.get(self.name) == Some(&Ok(ours.clone()));
        if !self.is_synced || is_written {
            return;
        }
        if own::write(&self.objects, self.name, &ours).await {
            self.claims.insert(self.name.to_owned(), Ok(ours));
        } else {
            self.write_at = Some(Instant::now() + WRITE_AGAIN);
        }
    }

    /// Tells once why other nodes are not known; what was known stays.
    fn complain(&mut self, posts: &Posts, error: &ApiError) {
        let error = report::chain(error);
        if self.complaint.as_ref() != Some(&error) {
            tracing::warn!(error, "cannot follow the other nodes; keeping the last known ones");
        }
        posts.peers.send_if_modified(|peers| {
            let is_new = matches!(peers, Peers::Unknown(known) if known.as_ref() != Some(&error));
            if is_new {
                *peers = Peers::Unknown(Some(error.clone()));
            }
            is_new
        });
        self.complaint = Some(error);
    }
}
