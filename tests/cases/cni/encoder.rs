//! What our nf_tables encoder says to the kernel, read back by `nft`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::thread;

use nix::errno::Errno;
use tripod_cni::nft::bridge::{self, Guarded};
use tripod_cni::nft::{
    Batch, Chain, Datum, Element, Expr, Family, Field, Hook, Layer, Nft, Rule, Set, Table,
};
use tripod_tests::namespace::Namespace;

const TABLE: Table = Table { layer: Layer::Inet, name: "probe" };
const PORTS: Set = Set {
    table: TABLE,
    name: "ports",
    key: &[Field::Protocol, Field::Address6, Field::Port],
    value: &[Field::Address6, Field::Port],
};
const LINKS: Set = Set { table: TABLE, name: "links", key: &[Field::Interface, Field::Mac], value: &[] };
const SOURCES: Set = Set { table: TABLE, name: "sources", key: &[Field::Address4], value: &[] };

fn chain() -> Chain {
    Chain { table: TABLE, name: Cow::Borrowed("out"), kind: "nat", hook: Hook::Output, priority: -95 }
}

fn port(number: u16) -> Element {
    let address = "fd00::1".parse().expect("an address");
    Element {
        key: Datum::new().then(&[6]).address(address).then(&number.to_be_bytes()),
        value: Datum::new().address(address).then(&[31, 144]),
        comment: "c1 eth0".to_owned(),
    }
}

/// Makes everything on `node`.
fn make(node: &Namespace) {
    node.run(|| {
        let rule = |exprs: Vec<Expr>| Rule { chain: chain(), exprs };
        let beside = |words, load| Expr::Beside(words, Box::new(load));
        let mut batch = Batch::new();
        batch.add_table(TABLE);
        [PORTS, LINKS, SOURCES].iter().for_each(|set| batch.add_set(set));
        batch.add_chain_with(&chain(), "made of values");
        batch.add_rule(&rule(vec![
            Expr::Family,
            Expr::Equal(vec![10]),
            Expr::DestinationType,
            Expr::Equal(2u32.to_ne_bytes().to_vec()),
            Expr::Protocol,
            beside(1, Expr::Network { offset: 24, length: 16 }),
            beside(5, Expr::Transport { offset: 2, length: 2 }),
            Expr::Map("ports"),
            Expr::DestinationNat(Family::V6),
        ]));
        batch.add_rule(&rule(vec![
            Expr::ConnectionStatus,
            Expr::Mask(32u32.to_ne_bytes().to_vec()),
            Expr::NotEqual(0u32.to_ne_bytes().to_vec()),
            Expr::OutgoingGroup,
            Expr::Equal(7u32.to_ne_bytes().to_vec()),
        ]));
        batch.add_rule(&rule(vec![
            Expr::Family,
            Expr::Equal(vec![2]),
            Expr::Network { offset: 12, length: 4 },
            Expr::InSet("sources"),
        ]));
        batch.add_element(&PORTS, &port(80));
        let link = Datum::new().interface("eth0").then(&[2, 0, 0, 0, 0, 1]);
        batch.add_element(&LINKS, &Element { key: link, ..Element::default() });
        let source = Datum::new().address("10.0.0.1".parse().expect("an address"));
        batch.add_element(&SOURCES, &Element { key: source, ..Element::default() });
        Nft::open().and_then(|nft| nft.commit(batch)).expect("the kernel takes it");
    });
}

#[test]
fn maps_sets_and_their_elements_read_back_as_they_were_meant() {
    let Some(node) = Namespace::node() else { return };
    make(&node);
    let text = node.sh("nft list table inet probe");
    for line in [
        "type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service",
        "elements = { tcp . fd00::1 . 80 comment \"c1 eth0\" : fd00::1 . 8080 }",
        "type ifname . ether_addr",
        "elements = { \"eth0\" . 02:00:00:00:00:01 }",
        "elements = { 10.0.0.1 }",
        "comment \"made of values\"",
        "type nat hook output priority -95; policy accept;",
        "fib daddr type local dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports",
        "ct status dnat oifgroup 7",
        "ip saddr @sources",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    // A rule set that `nft` has written it can read again.
    node.sh("nft list ruleset > /run/rules; nft flush ruleset; nft -f /run/rules");
    assert_eq!(node.sh("nft list table inet probe"), text);
}

#[test]
fn an_element_is_found_with_its_comment_and_its_key_is_given_once() {
    let Some(node) = Namespace::node() else { return };
    make(&node);
    node.run(|| {
        let nft = Nft::open().expect("a socket");
        assert_eq!(nft.element(&PORTS, &port(80).key).expect("an answer"), Some(port(80)));
        assert_eq!(nft.element(&PORTS, &port(81).key).expect("an answer"), None);
        assert_eq!(nft.chain(&chain()).expect("an answer").expect("the chain").comment, "made of values");
        let commit = |change: &dyn Fn(&mut Batch)| {
            let mut batch = Batch::new();
            change(&mut batch);
            nft.commit(batch).map_err(|error| Errno::from_raw(error.raw_os_error().expect("an answer")))
        };
        let both = |batch: &mut Batch| [81, 80].iter().for_each(|n| batch.add_element(&PORTS, &port(*n)));
        assert_eq!(commit(&both), Err(Errno::EEXIST));
        assert_eq!(nft.elements(&PORTS).expect("an answer"), [port(80)]);
        let other = Element { value: port(80).key, ..port(80) };
        assert_eq!(commit(&|batch| batch.ensure_element(&PORTS, &port(80))), Ok(()));
        // Which of the two depends on the kernel's version.
        let refused = commit(&|batch| batch.ensure_element(&PORTS, &other));
        assert!([Err(Errno::EEXIST), Err(Errno::EBUSY)].contains(&refused), "{refused:?}");
        assert_eq!(commit(&|batch| batch.remove_element(&PORTS, &port(80).key)), Ok(()));
        assert_eq!(commit(&|batch| batch.remove_element(&PORTS, &port(80).key)), Err(Errno::ENOENT));
        let many = |batch: &mut Batch| (1..=1000).for_each(|n| batch.add_element(&PORTS, &port(n)));
        assert_eq!(commit(&many), Ok(()));
        assert_eq!(nft.elements(&PORTS).expect("an answer").len(), 1000);
    });
}

#[test]
fn a_transaction_on_a_ruleset_that_changed_meanwhile_is_refused() {
    let Some(node) = Namespace::node() else { return };
    make(&node);
    let generation = || Nft::open().and_then(|nft| nft.generation()).expect("an answer");
    let seen = node.run(generation);
    node.sh("nft add table inet foreign");
    let commit = move |generation: u32| {
        let mut batch = Batch::of_generation(generation);
        batch.add_element(&PORTS, &port(81));
        Nft::open().and_then(|nft| nft.commit(batch)).map_err(|error| error.raw_os_error())
    };
    assert_eq!(node.run(move || commit(seen)), Err(Some(Errno::ERESTART as i32)));
    assert_eq!(node.run(move || commit(generation())), Ok(()));
}

#[test]
fn a_port_is_forgotten_by_whoever_comes_first_and_no_failure_for_the_others() {
    let Some(node) = Namespace::node() else { return };
    let guarded = Guarded {
        ifname: "tp0".to_owned(),
        comment: "c1 eth0".to_owned(),
        addresses: (1..=40).map(|last| IpAddr::from([10, 0, 0, last])).collect(),
        mac: Some([2; 6]),
    };
    node.run(move || {
        for round in 0..20 {
            bridge::guard(&Nft::open().unwrap(), &guarded, Vec::new).expect("the port is known");
            let forget = || thread::spawn(|| bridge::forget_any(&Nft::open()?, "tp0"));
            let forgotten = [forget(), forget(), forget(), forget()].map(|one| one.join().unwrap());
            assert!(forgotten.iter().all(Result::is_ok), "round {round}: {forgotten:?}");
            assert!(!bridge::is_whole(&Nft::open().unwrap(), &guarded).unwrap());
        }
    });
    assert_eq!(node.sh("nft list set bridge tripod sources4 | grep -c 10.0.0 || true").trim(), "0");
}
