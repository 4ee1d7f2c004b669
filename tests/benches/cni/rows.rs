//! Times of calls, one at a time and many at once, of all contenders in turn.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use tripod_tests::namespace::Namespace;

use crate::contender::Contender;
use crate::statistics::{median, quantile};

/// Pods at once.
pub(crate) const AT_ONCE: usize = 16;

/// How often they come and go in a round.
const WAVES: usize = 8;

/// What a contender took for one verb: milliseconds by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    rounds: Vec<Vec<f64>>,
    cpu: Vec<f64>,
    pub(crate) max_rss_kib: u64,
}

impl Times {
    /// The median of the best round: who else uses the machine can only make a round worse.
    pub(crate) fn p50(&self) -> f64 {
        self.rounds.iter().map(|round| median(round)).fold(f64::INFINITY, f64::min)
    }

    /// The same for the tail.
    pub(crate) fn p99(&self) -> f64 {
        self.rounds.iter().map(|round| quantile(round, 99)).fold(f64::INFINITY, f64::min)
    }

    /// The median of the processor's time, which does not count how long others had it.
    pub(crate) fn cpu(&self) -> f64 {
        median(&self.cpu)
    }

    /// How far the tail of the best round is from its middle.
    pub(crate) fn spread(&self) -> f64 {
        self.rounds.iter().map(|round| quantile(round, 99) / median(round)).fold(f64::INFINITY, f64::min)
    }
}

/// ADD and DEL of every contender.
pub(crate) type Row = Vec<(&'static str, Times, Times)>;

/// Sandboxes for every row: bare again after DEL. The kernel takes long to end one, and would do so during
/// the next row.
pub(crate) struct Sandboxes(Vec<PathBuf>, #[expect(dead_code, reason = "keeps them alive")] Vec<Namespace>);

impl Sandboxes {
    /// For so many pods of each contender.
    pub(crate) fn new(pods: usize) -> Self {
        let all: Vec<Namespace> = (0..MOST_CONTENDERS * pods).map(|_| Namespace::sandbox()).collect();
        Self(all.iter().map(Namespace::path).collect(), all)
    }

    /// One that no other contender or pod has.
    pub(crate) fn of(&self, who: usize, pod: usize) -> &Path {
        &self.0[who * self.0.len() / MOST_CONTENDERS + pod]
    }
}

/// Of any row.
pub(crate) const MOST_CONTENDERS: usize = 3;

/// `pods` ADDs, then their DELs, in turn and in changing order. `before` each ADD something may be put
/// right on the node.
pub(crate) fn one_by_one(
    all: &[Contender],
    sandboxes: &Sandboxes,
    rounds: usize,
    pods: usize,
    before: impl Fn(&Contender),
) -> Row {
    let mut row: Row = all.iter().map(|one| (one.name, Times::default(), Times::default())).collect();
    for _ in 0..rounds {
        for verb in ["ADD", "DEL"] {
            let mut round = vec![Vec::new(); all.len()];
            for pod in 0..pods {
                for turn in 0..all.len() {
                    let who = (turn + pod) % all.len();
                    let contender = &all[who];
                    if verb == "ADD" {
                        before(contender);
                    }
                    let account = contender.call(verb, pod, sandboxes.of(who, pod));
                    round[who].push(account.wall.as_secs_f64() * 1000.0);
                    let (_, add, del) = &mut row[who];
                    let times = if verb == "ADD" { add } else { del };
                    times.cpu.push(account.cpu.as_secs_f64() * 1000.0);
                    times.max_rss_kib = times.max_rss_kib.max(account.max_rss_kib);
                }
            }
            for ((_, add, del), round) in row.iter_mut().zip(round) {
                if verb == "ADD" { add.rounds.push(round) } else { del.rounds.push(round) }
            }
        }
    }
    row
}

/// ADDs and DELs per second of the median wave of pods that come, or go, at once. Not of the best: when
/// links go the kernel waits for its readers, and how many of a wave share a wait is luck, up to three times.
pub(crate) fn at_once(
    all: &[Contender],
    sandboxes: &Sandboxes,
    rounds: usize,
) -> Vec<(&'static str, f64, f64)> {
    let mut waves: Vec<[Vec<f64>; 2]> = all.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    for _ in 0..rounds * WAVES {
        for (which, verb) in ["ADD", "DEL"].into_iter().enumerate() {
            for (who, contender) in all.iter().enumerate() {
                let paths = (0..AT_ONCE).map(|pod| sandboxes.of(who, pod).to_owned()).collect();
                waves[who][which].push(wave(contender, verb, paths));
            }
        }
    }
    let medians = |[add, del]: &[Vec<f64>; 2]| (median(add), median(del));
    let rates = all.iter().zip(waves.iter().map(medians));
    rates.map(|(one, (add, del))| (one.name, add, del)).collect()
}

/// Threads inherit the node from the thread that starts them.
fn wave(contender: &Contender, verb: &'static str, sandboxes: Vec<PathBuf>) -> f64 {
    let plan = contender.plan.unaccounted();
    contender.node.run(move || {
        let begin = Instant::now();
        thread::scope(|scope| {
            for (pod, netns) in sandboxes.iter().enumerate() {
                let plan = &plan;
                scope.spawn(move || plan.call(verb, pod, netns).expect("the call succeeds"));
            }
        });
        sandboxes.len() as f64 / begin.elapsed().as_secs_f64()
    })
}
