//! Keeps asking from every pod to every other, and knows since when each way has been good.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::echo_pods::{EchoPod, PORT, pairs};
use crate::cluster::echo::{Dialogue, tell};
use crate::cluster::eventually::eventually;
use crate::cluster::mirror::Protocol;
use crate::cluster::sandbox::SandboxNetwork;

/// Far more than an answer takes between two namespaces of a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(150);
/// A way is good again when no question of so long was lost.
const STEADY: Duration = Duration::from_secs(1);

/// Asks until it is dropped. It keeps the pods' networks alive.
#[derive(Debug)]
pub(super) struct Prober {
    ways: Vec<Arc<Way>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// From one pod to an address of another.
#[derive(Debug)]
struct Way {
    name: String,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// When the first and the last question of an unbroken row of answers were asked.
    good: Option<(Instant, Instant)>,
    lost: usize,
    /// What the last lost one failed with.
    error: String,
}

impl Prober {
    /// Asks between all pairs of `pods`, over all their addresses: over a UDP flow that stays, and over TCP
    /// connections that are new each time.
    pub(super) fn start(pods: &[EchoPod]) -> anyhow::Result<Self> {
        let mut prober = Self { ways: Vec::new(), stop: Arc::default(), threads: Vec::new() };
        for (from, to) in pairs(pods) {
            for address in &to.addresses {
                prober.add(from.network.try_clone()?, &from.name, *address);
            }
        }
        Ok(prober)
    }

    fn add(&mut self, network: SandboxNetwork, from: &str, to: IpAddr) {
        let way = Arc::new(Way { name: format!("{from} to {to}"), log: Mutex::default() });
        self.ways.push(Arc::clone(&way));
        let stop = Arc::clone(&self.stop);
        let work = move || network.within(|| way.probe(SocketAddr::new(to, PORT), &stop));
        self.threads.push(std::thread::spawn(move || work().expect("a pod's network can be entered")));
    }

    /// Waits until all ways have been good for a while after `since`. Returns how long after `since` the
    /// last one became good.
    pub(super) fn heals(&self, since: Instant, limit: Duration) -> anyhow::Result<Duration> {
        eventually("all pods reach one another", limit, || {
            let healed = self.ways.iter().map(|way| way.good_after(since));
            let healed: Vec<Duration> = healed.collect::<anyhow::Result<_>>()?;
            Ok(healed.into_iter().max().unwrap_or_default())
        })
    }

    /// How many questions were lost so far.
    pub(super) fn lost(&self) -> usize {
        self.ways.iter().map(|way| way.log().lost).sum()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Way {
    fn probe(&self, place: SocketAddr, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut dialogue = Dialogue::open(place)?;
        while !stop.load(Ordering::SeqCst) {
            let begin = Instant::now();
            let answered = dialogue
                .say(ANSWER_LIMIT)
                .and_then(|()| tell(place, Protocol::Tcp, b"?", ANSWER_LIMIT).map(drop));
            self.log().note(begin, answered);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn good_after(&self, since: Instant) -> anyhow::Result<Duration> {
        let log = self.log();
        let first = log.good.map(|(first, last)| (first.max(since), last));
        match first {
            Some((first, last)) if last >= first + STEADY => Ok(first - since),
            _ => Err(anyhow::anyhow!("{}: {} were lost, the last with: {}", self.name, log.lost, log.error)),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no panic holds a log")
    }
}

impl Log {
    fn note(&mut self, begin: Instant, answered: anyhow::Result<()>) {
        match answered {
            Ok(()) => self.good = Some((self.good.map_or(begin, |(first, _)| first), begin)),
            Err(error) => {
                self.good = None;
                self.lost += 1;
                self.error = format!("{error:#}");
            }
        }
    }
}
