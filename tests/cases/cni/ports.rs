//! Host ports on the real kernel: who reaches a pod by them, who may have them, and what they leave.

mod lab;
mod repair;

use std::net::UdpSocket;
use std::thread;

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::{self, Server};

use super::{attach, conf, footprint};
pub(crate) use lab::{Lab, add, lab, port, with_ports};
use lab::{del, elements, rules, seen};

#[test]
fn a_host_port_leads_to_the_pod_from_everywhere() {
    for protocol in ["tcp", "udp"] {
        let Some(Lab { node, outside }) = lab() else { return };
        let (pod, other) = (Namespace::sandbox(), Namespace::sandbox());
        add(&node, &pod, "c1", json!([port(protocol, 8080, 80, "")]));
        attach(&node, &other, "c2");
        let server = Server::listen(&pod, protocol, 80);
        // Who asks is seen as it is, but for those whose answers would miss the node.
        for (who, from, target, source) in [
            ("outside", &outside, "192.0.2.9:8080", "192.0.2.1"),
            ("outside", &outside, "192.0.2.10:8080", "192.0.2.1"),
            ("outside", &outside, "[2001:db8::9]:8080", "2001:db8::1"),
            ("other", &other, "192.0.2.9:8080", "10.1.0.3"),
            ("other", &other, "[2001:db8::9]:8080", "fd00:1::3"),
            ("node", &node, "192.0.2.9:8080", "192.0.2.9"),
            ("node", &node, "[2001:db8::9]:8080", "2001:db8::9"),
            ("node", &node, "127.0.0.1:8080", "192.0.2.9"),
            ("pod", &pod, "192.0.2.9:8080", "192.0.2.9"),
            ("pod", &pod, "[2001:db8::9]:8080", "2001:db8::9"),
        ] {
            assert_eq!(seen(&server, from, target), source, "{protocol} {target} from {who}");
        }
        // Over TCP, whose server answers from the address that was asked.
        let elsewhere = Server::listen(&node, "tcp", 8080);
        assert_eq!(seen(&elsewhere, &node, "127.0.0.53:8080"), "127.0.0.1", "the node's other loopback");
        assert_eq!(seen(&elsewhere, &node, "[::1]:8080"), "::1");
        del(&node, "c1");
        for target in ["192.0.2.9:8080", "[2001:db8::9]:8080"] {
            assert!(seen(&elsewhere, &outside, target).ends_with('1'), "the node's own again");
        }
    }
}

#[test]
fn a_port_of_one_address_is_that_addresss_alone() {
    let Some(Lab { node, outside }) = lab() else { return };
    let pods = [Namespace::sandbox(), Namespace::sandbox(), Namespace::sandbox(), Namespace::sandbox()];
    let hosts = ["192.0.2.9", "192.0.2.10", "2001:db8::9", "127.0.0.1"];
    let mut servers = Vec::new();
    for (number, (pod, host)) in pods.iter().zip(hosts).enumerate() {
        add(&node, pod, &format!("c{number}"), json!([port("TCP", 8080, 80, host)]));
        servers.push(Server::listen(pod, "tcp", 80));
    }
    for (server, host) in servers.iter().zip(["192.0.2.9", "192.0.2.10", "[2001:db8::9]"]) {
        seen(server, &outside, &format!("{host}:8080"));
        seen(server, &node, &format!("{host}:8080"));
    }
    seen(&servers[3], &node, "127.0.0.1:8080");
    // The kernel knows a packet to a foreign loopback address only after NAT. The attacker's own loopback
    // is down, so the address is nobody's there.
    outside.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1; \
                ip route add 127.0.0.1 via 192.0.2.9 dev eth1 src 192.0.2.1");
    assert!(servers[3].is_hidden_from(&outside, "127.0.0.1:8080"));
    let handle = node.sh("nft -a list chain inet tripod hostports | sed -n 's/.*127.0.0.0.*handle //p'");
    node.sh(&format!("nft delete rule inet tripod hostports handle {handle}"));
    assert!(!servers[3].is_hidden_from(&outside, "127.0.0.1:8080"), "without that rule the pod is reached");
}

#[test]
fn a_taken_port_is_refused_with_its_owner_and_nothing_changes() {
    for (first, second, wanted) in [
        ("", "", "tcp 8080"),
        ("", "192.0.2.9", "tcp 8080 of 192.0.2.9"),
        ("192.0.2.9", "", "tcp 8080"),
        ("192.0.2.9", "192.0.2.9", "tcp 8080 of 192.0.2.9"),
        ("2001:db8::9", "::", "tcp 8080"),
        ("::", "2001:db8::9", "tcp 8080 of 2001:db8::9"),
        ("0.0.0.0", "", "tcp 8080"),
    ] {
        let Some(node) = Namespace::node() else { return };
        let (pod, late) = (Namespace::sandbox(), Namespace::sandbox());
        let call = Call::new("ADD", &with_ports(&json!([port("tcp", 8080, 80, first)])));
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";
        call.env("CNI_ARGS", args).netns(&pod.path()).run(&node).ok();
        let before = (rules(&node), footprint(&node));
        let ports = json!([port("tcp", 9090, 80, ""), port("tcp", 8080, 80, second)]);
        let add = Call::new("ADD", &with_ports(&ports)).container("c2").netns(&late.path());
        let (code, text) = add.run(&node).failed();
        assert_eq!(code, 102, "{first} {second}: {text}");
        let told = format!("host port {wanted} is taken by container c1 on eth0 (pod shop/web)");
        assert!(text.contains(&told), "{first} {second}: {text}");
        assert_eq!((rules(&node), footprint(&node)), before);
        assert_eq!(late.json("ip -j link").as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_port_that_somebody_wrote_into_our_table_is_told_as_such() {
    let Some(node) = Namespace::node() else { return };
    let (pod, late) = (Namespace::sandbox(), Namespace::sandbox());
    add(&node, &pod, "c1", json!([port("tcp", 9090, 80, "")]));
    node.sh("nft 'add element inet tripod hostports4 { tcp . 8080 : 10.1.0.9 . 80 }'");
    node.sh("nft 'add element inet tripod hostports4 { tcp . 8081 comment \"of mine\" : 10.1.0.9 . 80 }'");
    for number in [8080, 8081] {
        let ports = with_ports(&json!([port("tcp", number, 80, "")]));
        let call = Call::new("ADD", &ports).container("c2").netns(&late.path());
        let (code, text) = call.run(&node).failed();
        let told = format!(
            "host port tcp {number} is taken by an element of nftables table inet tripod that is not ours"
        );
        assert!(code == 102 && text.contains(&told), "{code} {text}");
    }
}

#[test]
fn what_does_not_overlap_may_stand_together() {
    let Some(node) = Namespace::node() else { return };
    let free = [
        port("tcp", 8080, 80, "0.0.0.0"),
        port("tcp", 8080, 80, "2001:db8::9"),
        port("udp", 8080, 80, ""),
        port("tcp", 8081, 80, "192.0.2.9"),
        port("tcp", 8081, 80, "192.0.2.10"),
        port("tcp", 8081, 80, "::"),
    ];
    for (number, port) in free.iter().enumerate() {
        add(&node, &Namespace::sandbox(), &format!("c{number}"), json!([port]));
    }
    // Each pod has its port, one of them in both families, and a hairpin for each family it has.
    assert_eq!(elements(&node), 7 + 7);
}

#[test]
fn ten_ports_come_and_go_and_leave_the_rules_as_they_were() {
    let Some(node) = Namespace::node() else { return };
    let (first, pod) = (Namespace::sandbox(), Namespace::sandbox());
    add(&node, &first, "c0", json!([port("tcp", 80, 80, ""), port("udp", 53, 53, "192.0.2.9")]));
    let before = (rules(&node), footprint(&node));
    let ports: Vec<Value> = (0..10u16)
        .map(|n| {
            port(
                ["tcp", "UDP"][usize::from(n % 2)],
                9000 + n,
                n + 1,
                ["", "127.0.0.1", "::"][usize::from(n % 3)],
            )
        })
        .collect();
    let mut conf = with_ports(&json!(ports));
    conf["prevResult"] = add(&node, &pod, "c1", json!(ports));
    let text = node.sh("nft list table inet tripod");
    for line in ["tcp . 9000 comment", "c1 eth0\" : 10.1.0.3 . 1", "udp . 127.0.0.1 . 9001", "fd00:1::3 . 3"]
    {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    Call::new("CHECK", &conf).container("c1").netns(&pod.path()).run(&node).silent();
    for _ in 0..2 {
        del(&node, "c1");
        assert_eq!((rules(&node), footprint(&node)), before);
    }
}

#[test]
fn sixteen_pods_at_once_get_their_ports_and_one_of_two_the_same() {
    let Some(node) = Namespace::node() else { return };
    let pods: Vec<Namespace> = (0..16).map(|_| Namespace::sandbox()).collect();
    // Two and two want the same port, of all addresses and of one.
    let call = |verb: &str, number: usize| {
        let number16 = u16::try_from(number).expect("a small number");
        let host = if number.is_multiple_of(2) { "" } else { "192.0.2.9" };
        let ports = json!([port("tcp", 8000 + number16 / 2, 80, host), port("tcp", 9000 + number16, 80, "")]);
        Call::new(verb, &with_ports(&ports)).container(&format!("c{number}")).netns(&pods[number].path())
    };
    let at_once = |verb: &'static str| -> Vec<bool> {
        let calls: Vec<Call> = (0..16).map(|number| call(verb, number)).collect();
        node.run(move || {
            let started: Vec<_> =
                calls.into_iter().map(|call| thread::spawn(move || call.execute())).collect();
            started.into_iter().map(|call| call.join().expect("the call ends").success).collect()
        })
    };
    let added = at_once("ADD");
    for pair in added.chunks(2) {
        assert_ne!(pair[0], pair[1], "one of the two: {added:?}");
    }
    let any = added.iter().enumerate().filter(|(number, ok)| **ok && number.is_multiple_of(2)).count();
    assert_eq!(elements(&node), any * (2 + 2 + 2) + (8 - any) * (1 + 2 + 2));
    assert!(at_once("DEL").iter().all(|deleted| *deleted));
    assert_eq!(elements(&node), 0);
}

#[test]
fn a_udp_client_that_was_there_before_reaches_the_pod_and_the_next_one() {
    for (target, host) in
        [("192.0.2.9:5353", ""), ("192.0.2.9:5353", "192.0.2.9"), ("[2001:db8::9]:5353", "")]
    {
        let Some(Lab { node, outside }) = lab() else { return };
        // The table exists already, so connection tracking is at work.
        add(&node, &Namespace::sandbox(), "c0", json!([port("udp", 1, 1, "")]));
        let elsewhere = "192.0.2.1:5353";
        let client = reach::client(&outside, target.parse().unwrap());
        let to_elsewhere = reach::client(&node, elsewhere.parse().unwrap());
        // The first may only tell that an earlier one found nobody.
        let ask = || drop(client.send(b"question").or_else(|_refused| client.send(b"question")));
        ask();
        drop(to_elsewhere.send(b"question"));
        let tracked = || node.sh("cat /proc/net/nf_conntrack");
        assert!(tracked().contains("dport=5353"), "{}", tracked());
        for container in ["c1", "c2"] {
            let pod = Namespace::sandbox();
            add(&node, &pod, container, json!([port("udp", 5353, 53, host), port("tcp", 5353, 53, host)]));
            let server = Server::listen(&pod, "udp", 53);
            let Server::Udp(socket) = &server else { unreachable!() };
            ask();
            assert!(receives(socket), "{target} {host} {container}");
            del(&node, container);
            let left = tracked();
            let led = left.lines().any(|line| line.contains("dport=5353") && line.contains("sport=53 "));
            assert!(!led, "{left}");
        }
        assert!(tracked().contains("dst=192.0.2.1 sport"), "connections to elsewhere live on: {}", tracked());
    }
}

fn receives(socket: &UdpSocket) -> bool {
    socket.recv_from(&mut [0; 16]).is_ok()
}

#[test]
fn one_family_alone_has_its_ports_and_no_other() {
    for (subnet, wrong) in [("10.1.0.0/24", "2001:db8::9"), ("fd00:1::/64", "192.0.2.9")] {
        let Some(node) = Namespace::node() else { return };
        let pod = Namespace::sandbox();
        let mut conf = conf("1.0.0", &[subnet]);
        conf["runtimeConfig"] = json!({"portMappings": [port("tcp", 80, 80, wrong)]});
        let (code, text) = Call::new("ADD", &conf).netns(&pod.path()).run(&node).failed();
        assert!(code == 7 && text.contains(wrong) && text.contains("family"), "{code} {text}");
        conf["runtimeConfig"] = json!({"PortMappings": [port("tcp", 80, 80, "")]});
        Call::new("ADD", &conf).netns(&pod.path()).run(&node).ok();
        assert_eq!(elements(&node), 2);
    }
}

#[test]
fn sctp_is_led_to_its_port_or_refused_by_name() {
    let Some(Lab { node, outside }) = lab() else { return };
    let pod = Namespace::sandbox();
    // Connection tracking begins with the first rule that needs it.
    node.sh("nft 'add table inet probe; add chain inet probe c { type nat hook output priority 0; }'");
    let tracks =
        node.try_sh("test -e /proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established").status.success();
    node.sh("nft delete table inet probe");
    let add = Call::new("ADD", &with_ports(&json!([port("SCTP", 8080, 80, "")]))).netns(&pod.path());
    if !tracks {
        let before = footprint(&node);
        let (code, text) = add.run(&node).failed();
        assert!(code == 105 && text.contains("CONFIG_NF_CT_PROTO_SCTP"), "{code} {text}");
        assert_eq!(footprint(&node), before);
        assert_eq!(elements(&node), 0);
        return;
    }
    add.run(&node).ok();
    assert!(node.sh("nft list table inet tripod").contains("sctp . 8080"));
    let open = "import socket; s=socket.socket(socket.AF_INET,socket.SOCK_STREAM,132); s.settimeout(10)";
    if !outside.try_sh(&format!("python3 -c '{open}'")).status.success() {
        // The kernel tracks SCTP but has no such sockets, and so no pod could serve.
        return;
    }
    let server = format!("{open}; s.bind((\"0.0.0.0\",80)); s.listen(); print(s.accept()[1][0])");
    let (pod, server) = (&pod, &server);
    let told = thread::scope(|scope| {
        let served = scope.spawn(move || pod.sh(&format!("python3 -c '{server}'")));
        tripod_tests::eventually("the host port answers over SCTP", || {
            outside.try_sh(&format!("python3 -c '{open}; s.connect((\"192.0.2.9\",8080))'")).status.success()
        });
        served.join().expect("the server ends")
    });
    assert_eq!(told.trim(), "192.0.2.1");
}
