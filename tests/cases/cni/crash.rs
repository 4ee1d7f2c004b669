//! Calls that are killed, or refused a step, before each step that changes the kernel or the disk: one
//! more call restores the node exactly.

use std::thread;

use serde_json::{Value, json};
use tripod_tests::exec::{Call, Ending, Outcome};
use tripod_tests::namespace::{Namespace, privileged};
use tripod_tests::programs;

use super::dual;
use super::ports::{self, port};

/// A configuration that is tried at every step.
struct Row {
    name: &'static str,
    conf: fn() -> Value,
    /// What the node is given before anything is attached; `POD` is the sandbox.
    node: &'static str,
    /// What takes away again that which the first attachment makes for all later ones.
    reset: &'static str,
    /// Words of lines that may stay behind: what the first attachment makes for all later ones.
    stays: &'static [&'static str],
}

const ROWS: [Row; 5] = [
    Row { name: "routed, both families", conf: || dual("1.1.0"), node: "", reset: "", stays: &[] },
    Row { name: "routed, with host ports and masquerade", conf: with_ports, node: "", reset: "", stays: &[] },
    Row {
        name: "bridge with gateway, macspoofchk, host ports and masquerade",
        conf: bridged,
        node: "",
        reset: "ip link del br7 2>/dev/null; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
        stays: &["br7"],
    },
    Row { name: "limited and tuned", conf: limited, node: "", reset: "", stays: &[] },
    Row {
        name: "chained, with host ports, limited and tuned",
        conf: chained,
        node: "ip link add vethforeign type veth peer name eth0; \
               sysctl -qw net.ipv6.conf.vethforeign.disable_ipv6=1; ip link set vethforeign up; \
               mkdir -p /run/netns; touch /run/netns/pod; mount --bind POD /run/netns/pod; \
               ip link set eth0 netns pod; \
               ip netns exec pod sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1; ip -n pod link set eth0 up; \
               ip -n pod address add 10.7.0.2/24 dev eth0; umount /run/netns/pod; rm -r /run/netns",
        reset: "",
        stays: &[],
    },
];

fn with_ports() -> Value {
    let port = |protocol: &str, host| port(protocol, 8080, 80, host);
    let mut conf = ports::with_ports(&json!([port("tcp", ""), port("udp", "192.0.2.9"), port("udp", "::")]));
    conf["ipMasq"] = json!(true);
    conf
}

fn bridged() -> Value {
    let mut conf = with_ports();
    conf["mode"] = json!("bridge");
    conf["bridge"] = json!("br7");
    for key in ["isDefaultGateway", "promiscMode", "macspoofchk"] {
        conf[key] = json!(true);
    }
    conf
}

fn limited() -> Value {
    let mut conf = dual("1.1.0");
    conf["sysctl"] = json!({"net.core.somaxconn": "777"});
    conf["runtimeConfig"] = json!({"bandwidth": {
        "IngressRate": 8_000_000, "IngressBurst": 800_000, "EgressRate": 8_000_000, "EgressBurst": 800_000,
    }});
    conf
}

fn chained() -> Value {
    let mut conf = limited();
    conf["mode"] = json!("chained");
    conf.as_object_mut().expect("keys").remove("ipam");
    conf["runtimeConfig"]["portMappings"] = json!([port("tcp", 8080, 80, "")]);
    conf["prevResult"] = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "vethforeign"}, {"name": "eth0", "sandbox": "/run/netns/pod"}],
        "ips": [{"address": "10.7.0.2/24", "gateway": "10.7.0.1", "interface": 1}],
    });
    conf
}

/// What follows a killed call.
const REPAIRS: [&[&str]; 3] = [&["DEL"], &["GC"], &["ADD", "DEL"]];

/// A node that is used again and again.
struct Stage<'a> {
    row: &'a Row,
    node: Namespace,
    pod: Namespace,
    /// What is there when nothing is attached.
    before: String,
    /// The ruleset when nothing is attached but something was.
    base: String,
}

impl<'a> Stage<'a> {
    fn new(row: &'a Row) -> Self {
        let (node, pod) = (Namespace::node().expect("root"), Namespace::sandbox());
        node.sh(&row.node.replace("POD", pod.path().to_str().expect("a path in Unicode")));
        let mut stage = Self { row, node, pod, before: String::new(), base: String::new() };
        stage.before = stage.footprint();
        stage.whole("ADD");
        stage.whole("DEL");
        stage.base = stage.ruleset();
        assert_eq!(stage.footprint(), stage.before, "{}", row.name);
        stage
    }

    fn call(&self, verb: &str) -> Call {
        let mut conf = (self.row.conf)();
        if verb == "GC" {
            conf["cni.dev/valid-attachments"] = json!([]);
        }
        Call::of(&programs::with_failpoints(), verb, &conf).netns(&self.pod.path())
    }

    /// A call that nothing interrupts and that must end well.
    fn whole(&self, verb: &str) {
        let outcome = self.call(verb).run(&self.node);
        assert!(outcome.success, "{}: {verb}: {outcome:?}", self.row.name);
    }

    /// As on a node where nothing was ever attached, or where what `verb` takes away is there.
    fn reset(&self, verb: &str) {
        self.node.sh("rm -rf /run/tripod; nft delete table inet tripod 2>/dev/null; \
             nft delete table bridge tripod 2>/dev/null; true");
        self.node.sh(self.row.reset);
        if ["DEL", "GC"].contains(&verb) {
            self.whole("ADD");
        }
    }

    fn ruleset(&self) -> String {
        self.node.sh("nft list ruleset")
    }

    /// Everything an attachment may leave, but for the ruleset and what serves all attachments.
    fn footprint(&self) -> String {
        let node = self.node.sh(
            "ip -o link; ip -o address; ip -o route show table all; ip -o -6 route show table all; \
             ip neigh show nud permanent; tc qdisc show; \
             find /run/tripod -type f ! -name lock ! -name 'last_reserved_ip*' ! -name '.taken*' \
             ! -name '.cooling*' 2>/dev/null | sort; true",
        );
        let stays = |line: &&str| !self.row.stays.iter().any(|word| line.contains(word));
        let node: Vec<&str> = node.lines().filter(stays).collect();
        node.join("\n") + "\n" + &self.pod.sh("ip -o link; ip -o route show table all")
    }

    fn assert_clean(&self, what: &str) {
        let name = self.row.name;
        assert_eq!(self.footprint(), self.before, "{name}: {what}");
        // What serves all attachments may be there in part, and nothing else may.
        let ruleset = self.ruleset();
        for line in ruleset.lines() {
            assert!(self.base.lines().any(|known| known == line), "{name}: {what}: {line:?} in\n{ruleset}");
        }
    }
}

/// The last step that standard error names.
fn last_step(stderr: &str) -> &str {
    stderr.lines().rfind(|line| line.starts_with("failpoint")).unwrap_or("no step")
}

/// Kills `verb` before its first step, its second, and so on until it lives; after each, `repair`.
fn survives(row: &Row, verb: &str, repair: &[&str]) {
    let stage = Stage::new(row);
    for number in 1.. {
        stage.reset(verb);
        match stage.call(verb).run_to(&stage.node, &format!("kill {number}")) {
            Ending::Killed(stderr) => {
                for next in repair {
                    let outcome = stage.call(next).run(&stage.node);
                    // What is still whole is not attached twice.
                    let exists = verb != "ADD" && *next == "ADD" && outcome.code() == Some(103);
                    assert!(outcome.success || exists, "{next} after {}: {outcome:?}", last_step(&stderr));
                }
                stage.assert_clean(&format!("{verb} killed at {}, then {repair:?}", last_step(&stderr)));
            }
            Ending::Ended(outcome) => {
                assert!(outcome.success && number > 3, "{verb} at {number}: {outcome:?}");
                return;
            }
        }
    }
}

fn survives_everywhere(verb: &str, repairs: &[&[&str]]) {
    if !privileged() {
        return;
    }
    thread::scope(|scope| {
        for row in &ROWS {
            for repair in repairs {
                scope.spawn(move || survives(row, verb, repair));
            }
        }
    });
}

#[test]
fn whatever_a_killed_add_leaves_one_more_call_repairs() {
    survives_everywhere("ADD", &REPAIRS);
}

#[test]
fn whatever_a_killed_del_leaves_one_more_call_repairs() {
    survives_everywhere("DEL", &REPAIRS);
}

#[test]
fn whatever_a_killed_gc_leaves_one_more_call_repairs() {
    survives_everywhere("GC", &REPAIRS);
}

#[test]
fn whatever_a_killed_status_leaves_the_next_one_takes_away() {
    survives_everywhere("STATUS", &[&["STATUS"]]);
}

/// Lets each step of `verb` fail in turn, and judges what is told and left.
fn refused_at_each_step(verb: &str, judge: impl Fn(&Stage, Outcome, &str)) {
    if !privileged() {
        return;
    }
    for row in &ROWS {
        let stage = Stage::new(row);
        for number in 1.. {
            stage.reset(verb);
            let Ending::Ended(outcome) = stage.call(verb).run_to(&stage.node, &format!("fail {number}"))
            else {
                panic!("{verb} died at {number}");
            };
            let steps: Vec<&str> =
                outcome.stderr.lines().filter(|line| line.starts_with("failpoint")).collect();
            let Some(step) = steps.get(number - 1).map(|step| (*step).to_owned()) else {
                assert!(outcome.success && number > 3, "{verb} at {number}: {outcome:?}");
                break;
            };
            if step.contains("hint") {
                // A hint that is lost is found out again.
                assert!(outcome.success, "{step}: {outcome:?}");
                stage.whole("DEL");
                stage.assert_clean(&format!("{verb} refused {step}, then DEL"));
            } else {
                judge(&stage, outcome, &step);
            }
        }
    }
}

#[test]
fn an_add_that_is_refused_any_step_tells_it_and_undoes_the_others() {
    refused_at_each_step("ADD", |stage, outcome, step| {
        if outcome.success {
            panic!("{step} was refused, and ADD says that all is well");
        }
        let (code, text) = outcome.failed();
        assert_eq!(code, 5, "{step}: {text}");
        stage.assert_clean(&format!("ADD refused {step}"));
    });
}

#[test]
fn a_del_that_is_refused_any_step_tells_it_and_can_be_repeated() {
    refused_at_each_step("DEL", |stage, outcome, step| {
        let (code, text) = outcome.failed();
        assert_eq!(code, 5, "{step}: {text}");
        stage.whole("DEL");
        stage.assert_clean(&format!("DEL refused {step}, then repeated"));
    });
}

#[test]
fn only_the_build_for_tests_has_failpoints() {
    const VARIABLE: &[u8] = b"TRIPOD_FAILPOINT";
    let holds = |program| {
        let bytes = std::fs::read(program).expect("the program");
        bytes.windows(VARIABLE.len()).any(|window| window == VARIABLE)
    };
    assert!(holds(programs::with_failpoints()));
    assert!(!holds(programs::program("tripod-cni")));
    let Some(node) = Namespace::node() else { return };
    let call = Call::new("VERSION", &Value::Null).env("TRIPOD_FAILPOINT", "list");
    assert_eq!(call.run(&node).stderr, "");
    let pod = Namespace::sandbox();
    let shipped = Call::new("ADD", &dual("1.1.0")).netns(&pod.path());
    assert!(matches!(shipped.run_to(&node, "kill 1"), Ending::Ended(outcome) if outcome.success));
}
