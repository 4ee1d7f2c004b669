//! `cargo bench --bench cni`: how long ADD and DEL take, exec included, beside the reference `bridge`
//! plugin with `host-local` where `target/cluster/bin` holds them. Both run in turn on the same node, so
//! that their ratio holds on any machine. Ends in one JSON line; times are in milliseconds.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::{self, Profile};

/// Pods per plugin, each in a namespace of its own.
const PODS: usize = 100;

struct Plugin {
    name: &'static str,
    program: PathBuf,
    conf: Value,
    path: PathBuf,
    adds: Vec<Duration>,
    dels: Vec<Duration>,
}

fn main() {
    let node = Namespace::try_node().expect("root, to make namespaces");
    let mut plugins = vec![tripod()];
    plugins.extend(reference());
    let pods: Vec<Vec<Namespace>> =
        (0..PODS).map(|_| plugins.iter().map(|_| Namespace::sandbox()).collect()).collect();
    for verb in ["ADD", "DEL"] {
        for (number, sandboxes) in pods.iter().enumerate() {
            for (plugin, sandbox) in plugins.iter_mut().zip(sandboxes) {
                let took = plugin.time(verb, number, &node, sandbox);
                if verb == "ADD" { plugin.adds.push(took) } else { plugin.dels.push(took) }
            }
        }
    }
    let mut report =
        serde_json::Map::from_iter([("bench".to_owned(), json!("cni")), ("pods".to_owned(), json!(PODS))]);
    for plugin in &mut plugins {
        let times = json!({"add": percentiles(&mut plugin.adds), "del": percentiles(&mut plugin.dels)});
        println!("{:<20} {times}", plugin.name);
        report.insert(plugin.name.to_owned(), times);
    }
    println!("{}", Value::Object(report));
}

fn tripod() -> Plugin {
    let folder = programs::build(Profile::Release, &["tripod-cni"]).expect("the release build");
    Plugin::new(
        "tripod-cni",
        folder.join("tripod-cni"),
        json!({
            "cniVersion": "1.0.0", "name": "bench", "type": "tripod-cni",
            "ipam": {"ranges": [[{"subnet": "10.1.0.0/16"}]]},
        }),
    )
}

fn reference() -> Option<Plugin> {
    let folder = programs::target_dir().join("cluster/bin");
    let program = folder.join("bridge");
    if !program.exists() || !folder.join("host-local").exists() {
        println!("no reference plugins in {}: measuring alone", folder.display());
        return None;
    }
    Some(Plugin::new(
        "bridge+host-local",
        program,
        json!({
            "cniVersion": "1.0.0", "name": "reference", "type": "bridge", "bridge": "bench0",
            "isGateway": true, "isDefaultGateway": true,
            "ipam": {"type": "host-local", "dataDir": "/run/host-local", "ranges": [[{"subnet": "10.2.0.0/16"}]]},
        }),
    ))
}

impl Plugin {
    fn new(name: &'static str, program: PathBuf, conf: Value) -> Self {
        let path = program.parent().expect("a folder").to_owned();
        Self { name, program, conf, path, adds: Vec::new(), dels: Vec::new() }
    }

    fn time(&self, verb: &str, pod: usize, node: &Namespace, sandbox: &Namespace) -> Duration {
        let call = Call::of(&self.program, verb, &self.conf)
            .env("CNI_PATH", self.path.to_str().expect("a path in Unicode"))
            .container(&format!("pod{pod}"))
            .netns(&sandbox.path());
        node.run(move || {
            let begin = Instant::now();
            let outcome = call.execute();
            let took = begin.elapsed();
            assert!(outcome.success, "{outcome:?}");
            took
        })
    }
}

fn percentiles(times: &mut [Duration]) -> Value {
    times.sort();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        let ms = times.get(index).expect("samples").as_secs_f64() * 1000.0;
        (ms * 100.0).round() / 100.0
    };
    json!({"p50": at(50), "p99": at(99)})
}
