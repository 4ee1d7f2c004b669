//! Many attachments in an order left to chance, against a model of what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tripod_tests::chance::Chance;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{conf, footprint};

const CONTAINERS: usize = 100;
const CALLS: usize = 200;
/// Runtimes at work at the same time.
const WORKERS: usize = 8;

/// What is attached: container to addresses.
type Model = BTreeMap<usize, BTreeSet<String>>;

struct World {
    conf: Value,
    pods: Vec<Namespace>,
    /// Every address that is somebody's now.
    taken: Mutex<BTreeSet<String>>,
}

#[test]
fn attachments_in_any_order_share_no_address_and_leave_nothing() {
    let Some(node) = Namespace::node() else { return };
    let seed = Chance::seed();
    let before = footprint(&node);
    let world = Arc::new(World {
        conf: conf("1.1.0", &["10.1.0.0/25", "fd00:1::/120"]),
        pods: (0..CONTAINERS).map(|_| Namespace::sandbox()).collect(),
        taken: Mutex::default(),
    });
    let model = at_once(&node, &world, move |world, worker| world.live(worker, seed));
    assert_present(&node, &model);
    at_once(&node, &world, |world, worker| {
        let all = (worker..CONTAINERS).step_by(WORKERS);
        all.for_each(|container| world.call("DEL", container).execute().silent());
        Model::new()
    });
    assert_eq!(footprint(&node), before, "seed {seed}");
}

/// Runs `work` for each worker on `node`, and joins the models.
fn at_once(
    node: &Namespace,
    world: &Arc<World>,
    work: impl Fn(&World, usize) -> Model + Send + Sync + 'static,
) -> Model {
    let world = Arc::clone(world);
    node.run(move || {
        let (world, work) = (&world, &work);
        thread::scope(|scope| {
            let started: Vec<_> =
                (0..WORKERS).map(|worker| scope.spawn(move || work(world, worker))).collect();
            started.into_iter().flat_map(|worker| worker.join().expect("the worker ends well")).collect()
        })
    })
}

impl World {
    fn call(&self, verb: &str, container: usize) -> Call {
        Call::new(verb, &self.conf).container(&format!("c{container}")).netns(&self.pods[container].path())
    }

    /// One worker's containers, each in an order of its own; never two calls of one at the same time.
    fn live(&self, worker: usize, seed: u64) -> Model {
        let mine: Vec<usize> = (worker..CONTAINERS).step_by(WORKERS).collect();
        let mut chance = Chance::new(seed + worker as u64);
        let mut model = Model::new();
        for _ in 0..CALLS / WORKERS {
            let container = mine[chance.below(mine.len())];
            // Two of three, so that the node fills.
            if chance.below(3) > 0 {
                self.add(container, &mut model);
            } else {
                self.del(container, &mut model);
            }
        }
        model
    }

    fn add(&self, container: usize, model: &mut Model) {
        let outcome = self.call("ADD", container).execute();
        if model.contains_key(&container) {
            assert_eq!(outcome.failed().0, 103, "a second ADD of c{container}");
            return;
        }
        let document = outcome.ok();
        let addresses: BTreeSet<String> =
            document["ips"].as_array().expect("addresses").iter().map(address).collect();
        let mut taken = self.taken.lock().expect("no worker panics");
        for address in &addresses {
            assert!(taken.insert(address.clone()), "{address} was given twice, at last to c{container}");
        }
        model.insert(container, addresses);
    }

    /// A runtime repeats DEL, also of what was never there.
    fn del(&self, container: usize, model: &mut Model) {
        if let Some(addresses) = model.remove(&container) {
            // Before the call, during which the next one may get them.
            self.taken.lock().expect("no worker panics").retain(|address| !addresses.contains(address));
        }
        self.call("DEL", container).execute().silent();
    }
}

fn address(ip: &Value) -> String {
    ip["address"].as_str().expect("an address").split('/').next().expect("it has one").to_owned()
}

fn assert_present(node: &Namespace, model: &Model) {
    let wanted: BTreeSet<String> = model.values().flatten().cloned().collect();
    assert!(!wanted.is_empty());
    let leases = node.sh("cd /run/tripod/ipam/pods; ls | grep -v -e lock -e last_reserved");
    assert_eq!(leases.lines().map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
    let routes = node.sh("ip -o route show proto 84; ip -o -6 route show proto 84");
    let routed = routes.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned()));
    assert_eq!(routed.collect::<BTreeSet<_>>(), wanted);
    let count = |script: &str| node.sh(script).trim().parse::<usize>().expect("a number");
    assert_eq!(count("ip -o link show group 29808 | wc -l"), model.len());
    assert_eq!(count("ls /run/tripod/attachments/*.json | wc -l"), model.len());
}
