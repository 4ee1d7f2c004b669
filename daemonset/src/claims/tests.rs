use std::net::IpAddr;

use super::*;
use crate::config::Backend;
use crate::mac::Mac;

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn claim(uid: &str, address: &str, cidrs: &[&str]) -> Claim {
    Claim {
        node_uid: uid.into(),
        addresses: vec![address.parse().unwrap()],
        pod_cidrs: networks(cidrs),
        vtep_mac: Mac::of_node(uid),
        wireguard_key: None,
        protocol: 1,
    }
}

/// What a Node object says.
fn node(uid: &str, cidrs: &[&str]) -> Option<NodeFacts> {
    let address = format!("192.0.2.{}", uid.trim_start_matches('u')).parse();
    Some(NodeFacts { uid: uid.into(), pod_cidrs: networks(cidrs), node_ips: address.into_iter().collect() })
}

/// As node `n1` of a cluster whose pods are 10.244.0.0/16 and fd00:244::/48, which knows nobody yet.
fn judge(claims: &[(&str, Claim)], nodes: &[(&str, Option<NodeFacts>)]) -> (Vec<String>, Vec<String>) {
    judge_knowing(&[], claims, nodes)
}

fn judge_knowing(
    known: &[(&str, Claim)],
    claims: &[(&str, Claim)],
    nodes: &[(&str, Option<NodeFacts>)],
) -> (Vec<String>, Vec<String>) {
    judge_within(&["10.244.0.0/16", "fd00:244::/48"], known, claims, nodes)
}

fn judge_within(
    cluster_cidrs: &[&str],
    known: &[(&str, Claim)],
    claims: &[(&str, Claim)],
    nodes: &[(&str, Option<NodeFacts>)],
) -> (Vec<String>, Vec<String>) {
    let config = NodeConfig { cluster_cidrs: networks(cluster_cidrs), ..NodeConfig::default() };
    let facts = NodeFacts {
        uid: "u1".into(),
        pod_cidrs: networks(&["10.244.1.0/24", "fd00:244:0:1::/64"]),
        node_ips: vec!["192.0.2.1".parse().unwrap()],
    };
    let of = |name: &str| claims.iter().find(|(claimant, _)| *claimant == name).unwrap().1.clone();
    let verdict = |(name, node): &(&str, Option<NodeFacts>)| {
        ((*name).to_owned(), Verdict::new(of(name), node.as_ref()))
    };
    let verdicts = nodes.iter().map(verdict).collect();
    let claims = claims.iter().map(|(name, claim)| ((*name).to_owned(), Ok(claim.clone()))).collect();
    let peers: Vec<_> =
        known.iter().map(|(name, claim)| Peer { name: (*name).to_owned(), claim: claim.clone() }).collect();
    let services = networks(&["10.244.200.0/25"]);
    let us = Standpoint {
        name: "n1",
        config: &config,
        facts: &facts,
        key: None,
        services: &services,
        peers: &peers,
    };
    let judged = super::judge(&claims, &verdicts, us);
    (
        judged.peers.into_iter().map(|peer| peer.name).collect(),
        judged.refused.into_iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect(),
    )
}

#[test]
fn claims_within_the_cluster_are_used() {
    let (peers, refused) = judge(
        &[
            ("n1", claim("u1", "192.0.2.1", &["10.244.1.0/24"])),
            ("n2", claim("u2", "192.0.2.2", &["10.244.2.0/24", "fd00:244:0:2::/64"])),
            ("n3", claim("u3", "192.0.2.3", &["10.244.3.0/24"])),
        ],
        &[],
    );
    assert_eq!((peers, refused), (vec!["n2".to_owned(), "n3".to_owned()], vec![]));
}

#[test]
fn each_refusal_says_why() {
    let cases = [
        (&["10.245.2.0/24"][..], "10.245.2.0/24 is in none of clusterCIDRs of node.yaml"),
        (
            &["10.244.2.0/23"],
            "10.244.2.0/23 is no /24, which is what this cluster's nodes get: this node has one",
        ),
        (
            &["10.244.2.0/25"],
            "10.244.2.0/25 is no /24, which is what this cluster's nodes get: this node has one",
        ),
        (&["10.244.0.0/16"], "10.244.0.0/16 overlaps 10.244.1.0/24 of this node"),
        (
            &["10.244.2.0/24", "fd00:244:0:1::/64"],
            "fd00:244:0:1::/64 overlaps fd00:244:0:1::/64 of this node",
        ),
        (&["10.244.200.0/24"], "10.244.200.0/24 overlaps 10.244.200.0/25, which Services have"),
        (&["10.244.9.0/24"], "10.244.9.0/24 holds 10.244.9.2, the address of a node"),
    ];
    for (cidrs, reason) in cases {
        let (peers, refused) = judge(&[("n2", claim("u2", "10.244.9.2", cidrs))], &[]);
        assert_eq!((peers, refused), (vec![], vec![format!("n2: {reason}")]));
    }
}

#[test]
fn no_node_is_at_an_address_of_our_own_pods() {
    for (address, told) in [
        ("10.244.1.7", "10.244.1.7/32 overlaps 10.244.1.0/24 of this node"),
        ("fd00:244:0:1::7", "fd00:244:0:1::7/128 overlaps fd00:244:0:1::/64 of this node"),
    ] {
        let mut claim = claim("u2", "192.0.2.2", &["10.244.2.0/24"]);
        claim.addresses.push(address.parse().unwrap());
        assert_eq!(judge(&[("n2", claim)], &[]), (vec![], vec![format!("n2: {told}")]));
    }
}

#[test]
fn of_two_that_overlap_the_node_objects_decide() {
    let claims = [
        ("n2", claim("u2", "192.0.2.2", &["10.244.2.0/24"])),
        ("n3", claim("u3", "192.0.2.3", &["10.244.2.0/24"])),
    ];
    let right = ("n2", node("u2", &["10.244.2.0/24"]));
    let cases = [
        (vec![right.clone(), ("n3", node("u3", &["10.244.3.0/24"]))], vec!["n2"]),
        // Made anew since: its object is an earlier one's.
        (vec![("n2", node("other", &["10.244.2.0/24"])), ("n3", node("u3", &["10.244.2.0/24"]))], vec!["n3"]),
        (vec![right, ("n3", None)], vec!["n2"]),
    ];
    for (verdicts, expected) in cases {
        let (peers, refused) = judge(&claims, &verdicts);
        assert_eq!(peers, expected);
        assert_eq!(refused.len(), 2 - expected.len());
        assert!(
            refused.iter().all(|why| why.contains("10.244.2.0/24 overlaps the claim of node")),
            "{refused:?}"
        );
    }
}

#[test]
fn nobody_is_another_node() {
    let honest = ("n2", claim("u2", "192.0.2.2", &["10.244.2.0/24"]));
    let right = ("n2", node("u2", &["10.244.2.0/24"]));
    let thief = ("n3", node("u3", &["10.244.3.0/24"]));
    for (claim, what) in [
        (claim("u3", "192.0.2.2", &["10.244.3.0/24"]), "192.0.2.2"),
        (claim("u2", "192.0.2.3", &["10.244.3.0/24"]), "UID u2"),
    ] {
        let (peers, refused) = judge(&[honest.clone(), ("n3", claim)], &[right.clone(), thief.clone()]);
        assert_eq!(peers, ["n2"]);
        let why = format!("n3: it claims {what}, as node n2 does, and its Node object does not have it");
        assert_eq!(refused, [why]);
    }
    let (peers, refused) = judge(&[("n3", claim("u3", "192.0.2.1", &["10.244.3.0/24"]))], &[]);
    assert_eq!(
        (peers, refused),
        (vec![], vec!["n3: it claims 192.0.2.1, the address of this node".to_owned()])
    );
}

#[test]
fn until_node_objects_decide_who_was_believed_stays_and_a_newcomer_waits() {
    let old = ("n2", claim("u2", "192.0.2.2", &["10.244.2.0/24"]));
    let new = ("n3", claim("u3", "192.0.2.3", &["10.244.2.0/24"]));
    let apart = ("n4", claim("u4", "192.0.2.4", &["10.244.4.0/24"]));
    let claims = [old, new, apart];
    let waits = |name: &str, other: &str, awaited: &str| {
        format!(
            "{name}: it claims 10.244.2.0/24, which is in dispute with node {other}; waiting for Node object {awaited}"
        )
    };
    let (peers, refused) = judge_knowing(&claims[..1], &claims, &[]);
    assert_eq!((peers, refused), (vec!["n2".to_owned(), "n4".to_owned()], vec![waits("n3", "n2", "n3")]));
    // As long as the one may be right, the other must not come beside it.
    let right = ("n3", node("u3", &["10.244.2.0/24"]));
    let (peers, refused) = judge_knowing(&claims[..1], &claims, std::slice::from_ref(&right));
    assert_eq!((peers, refused), (vec!["n2".to_owned(), "n4".to_owned()], vec![waits("n3", "n2", "n2")]));
    let (peers, _) = judge_knowing(&claims[..1], &claims, &[right, ("n2", None)]);
    assert_eq!(peers, ["n3", "n4"]);
    // What was believed is another claim by now.
    let moved = ("n2", claim("u2", "192.0.2.22", &["10.244.2.0/24"]));
    for known in [vec![], vec![moved]] {
        let (peers, refused) = judge_knowing(&known, &claims, &[]);
        assert_eq!(
            (peers, refused),
            (vec!["n4".to_owned()], vec![waits("n2", "n3", "n2"), waits("n3", "n2", "n3")])
        );
    }
}

#[test]
fn a_verdict_is_about_one_claim() {
    let claims = |address: &str| -> Claims {
        [
            ("n2", claim("u2", address, &["10.244.2.0/24"])),
            ("n3", claim("u3", "192.0.2.3", &["10.244.2.0/24"])),
        ]
        .into_iter()
        .map(|(name, claim)| (name.to_owned(), Ok(claim)))
        .collect()
    };
    let facts = NodeFacts { pod_cidrs: networks(&["10.244.1.0/24"]), ..NodeFacts::default() };
    let config = NodeConfig { cluster_cidrs: networks(&["10.244.0.0/16"]), ..NodeConfig::default() };
    let us = Standpoint { name: "n1", config: &config, facts: &facts, key: None, services: &[], peers: &[] };
    let said = node("u2", &["10.244.2.0/24"]);
    let about = claim("u2", "192.0.2.2", &["10.244.2.0/24"]);
    let verdicts = Verdicts::from([("n2".to_owned(), Verdict::new(about, said.as_ref()))]);
    let judged = |address: &str| super::judge(&claims(address), &verdicts, us);
    assert_eq!(judged("192.0.2.2").peers.len(), 1);
    assert_eq!(judged("192.0.2.4").peers, []);
    assert_eq!(judged("192.0.2.4").disputed.into_keys().collect::<Vec<_>>(), ["n2", "n3"]);
}

#[test]
fn no_pods_are_at_the_address_of_any_node() {
    let thief = ("n2", claim("u2", "192.0.2.2", &["10.244.9.0/24"]));
    let honest = ("n3", claim("u3", "10.244.9.3", &["10.244.3.0/24"]));
    // Its own prefix is of no use, and still it is a node.
    let apart = ("n3", claim("u3", "10.244.9.3", &["10.9.3.0/24"]));
    let says = |name| {
        (
            name,
            Some(NodeFacts {
                uid: "u3".into(),
                pod_cidrs: networks(&["10.244.3.0/24"]),
                node_ips: vec!["10.244.9.3".parse().unwrap()],
            }),
        )
    };
    let holds = "n2: 10.244.9.0/24 holds 10.244.9.3, the address of a node".to_owned();
    let claims = [thief.clone(), honest.clone()];
    let nodes = [says("n3"), ("n2", node("u2", &["10.244.2.0/24"]))];
    assert_eq!(judge(&claims, &nodes), (vec!["n3".to_owned()], vec![holds]));
    let waits = "n2: it claims 10.244.9.0/24, which is in dispute with node n3; waiting for Node object n3";
    let (peers, refused) = judge_knowing(&[honest], &claims, &[]);
    assert_eq!((peers, refused), (vec!["n3".to_owned()], vec![waits.to_owned()]));
    let (peers, refused) = judge(&[thief.clone(), apart], &[]);
    assert_eq!((peers.len(), refused.iter().any(|why| why == waits)), (0, true), "{refused:?}");
    // An address that only the claim has takes nobody's prefix.
    let liar = ("n3", claim("u3", "10.244.9.7", &["10.244.3.0/24"]));
    let lies = "n3: it claims 10.244.9.7 in 10.244.9.0/24 of node n2, and its Node object does not have it";
    let (peers, refused) = judge(&[thief.clone(), liar.clone()], &[says("n3")]);
    assert_eq!((peers, refused), (vec!["n2".to_owned()], vec![lies.to_owned()]));
    let (peers, _) = judge_knowing(std::slice::from_ref(&thief), &[thief.clone(), liar], &[]);
    assert_eq!(peers, ["n2"]);
}

#[test]
fn no_address_takes_a_prefix_that_a_node_object_has() {
    let honest = ("n2", claim("u2", "192.0.2.2", &["10.244.9.0/24"]));
    let taken_over = ("n3", claim("u3", "10.244.9.3", &["10.244.3.0/24"]));
    // A node writes its own addresses, also into its Node object.
    let patched = NodeFacts {
        uid: "u3".into(),
        pod_cidrs: networks(&["10.244.3.0/24"]),
        node_ips: taken_over.1.addresses.clone(),
    };
    let (patched, right) = (("n3", Some(patched)), ("n2", node("u2", &["10.244.9.0/24"])));
    let claims = [honest.clone(), taken_over.clone()];
    let within = "n3: it claims 10.244.9.3 in 10.244.9.0/24, which is node n2's by its Node object";
    for nodes in [vec![patched.clone(), right.clone()], vec![right]] {
        let (peers, refused) = judge(&claims, &nodes);
        assert_eq!((peers, refused), (vec!["n2".to_owned()], vec![within.to_owned()]));
    }
    let (peers, refused) = judge_knowing(&[honest], &claims, std::slice::from_ref(&patched));
    let waits = "n3: it claims 10.244.9.3, which is in dispute with node n2; waiting for Node object n2";
    assert_eq!((peers, refused), (vec!["n2".to_owned()], vec![waits.to_owned()]));
    let (peers, refused) = judge(&claims, &[patched]);
    let waits = "n2: it claims 10.244.9.0/24, which is in dispute with node n3; waiting for Node object n2";
    assert_eq!((peers, refused), (vec!["n3".to_owned()], vec![waits.to_owned()]));
}

#[test]
fn without_cluster_cidrs_each_claim_needs_its_node_object() {
    let claims = [
        ("n2", claim("u2", "192.0.2.2", &["10.7.2.0/24"])),
        ("n3", claim("u3", "192.0.2.3", &["8.8.8.0/24"])),
        ("n4", claim("u4", "192.0.2.4", &["10.7.4.0/24"])),
        ("n5", claim("u5", "192.0.2.5", &["10.7.5.0/24"])),
    ];
    let nodes = [("n2", node("u2", &["10.7.2.0/24"])), ("n3", node("u3", &["10.7.3.0/24"]))];
    let (peers, refused) = judge_within(&[], &[claims[3].clone()], &claims, &nodes);
    assert_eq!(peers, ["n2", "n5"]);
    let expected = [
        "n3: its Node object does not have what it claims, and clusterCIDRs of node.yaml is empty",
        "n4: waiting for its Node object, as clusterCIDRs of node.yaml is empty",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn what_is_refused_anyway_is_not_disputed() {
    let (peers, refused) = judge(
        &[
            ("n2", claim("u2", "192.0.2.2", &["10.244.2.0/24"])),
            ("n3", claim("u3", "192.0.2.3", &["0.0.0.0/0"])),
            ("n4", claim("u4", "192.0.2.4", &["10.244.2.0/25"])),
        ],
        &[],
    );
    assert_eq!((peers, refused.len()), (vec!["n2".to_owned()], 2));
}

#[test]
fn five_thousand_nodes_are_judged_at_once() {
    let name = |index: u32| format!("n{index}");
    let claims: Claims = (0..5000)
        .map(|index| {
            let cidr =
                IpNetwork::new(IpAddr::from((0x0a00_0000_u32 + index * 256).to_be_bytes()), 24).unwrap();
            let address = IpAddr::from((0xc000_0000_u32 + index).to_be_bytes());
            let claim = Claim {
                addresses: vec![address],
                pod_cidrs: vec![cidr],
                ..claim(&name(index), "192.0.2.2", &[])
            };
            (name(index), Ok(claim))
        })
        .collect();
    let facts = NodeFacts { pod_cidrs: networks(&["10.0.0.0/24"]), ..NodeFacts::default() };
    let config = NodeConfig { cluster_cidrs: networks(&["10.0.0.0/8"]), ..NodeConfig::default() };
    let us = Standpoint { name: "n0", config: &config, facts: &facts, key: None, services: &[], peers: &[] };
    let judged = super::judge(&claims, &Verdicts::new(), us);
    assert_eq!((judged.peers.len(), judged.disputed.len()), (4999, 0));
}

/// As node `n1`, which has a key of WireGuard.
fn judge_keys(
    backend: Backend,
    known: &[(&str, Claim)],
    claims: &[(&str, Claim)],
) -> (Vec<String>, Vec<String>) {
    let config = NodeConfig { backend, cluster_cidrs: networks(&["10.244.0.0/16"]), ..NodeConfig::default() };
    let facts = NodeFacts { pod_cidrs: networks(&["10.244.1.0/24"]), ..NodeFacts::default() };
    let peers: Vec<_> =
        known.iter().map(|(name, claim)| Peer { name: (*name).to_owned(), claim: claim.clone() }).collect();
    let us = Standpoint {
        name: "n1",
        config: &config,
        facts: &facts,
        key: Some(PublicKey([1; 32])),
        services: &[],
        peers: &peers,
    };
    let claims = claims.iter().map(|(name, claim)| ((*name).to_owned(), Ok(claim.clone()))).collect();
    let judged = super::judge(&claims, &Verdicts::new(), us);
    assert_eq!(judged.disputed, Disputed::new(), "no Node object tells of keys");
    (
        judged.peers.into_iter().map(|peer| peer.name).collect(),
        judged.refused.into_iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect(),
    )
}

#[test]
fn nobody_takes_anothers_key() {
    let with = |number: u8, key: u8| {
        let claim =
            claim(&format!("u{number}"), &format!("192.0.2.{number}"), &[&format!("10.244.{number}.0/24")]);
        Claim { wireguard_key: Some(PublicKey([key; 32])), ..claim }
    };
    let (honest, thief) = (("n2", with(2, 2)), ("n3", with(3, 2)));
    let both = [honest.clone(), thief.clone()];
    let says =
        |name: &str, other: &str| format!("{name}: it claims the key of WireGuard that node {other} claims");
    let encrypted = |known: &[(&str, Claim)]| judge_keys(Backend::Wireguard, known, &both);
    let (peers, refused) = encrypted(std::slice::from_ref(&honest));
    assert_eq!(peers, ["n2"]);
    assert!(refused.len() == 1 && refused[0].starts_with(&says("n3", "n2")), "{refused:?}");
    // Who was believed with another key is a newcomer with this one.
    for known in [vec![], vec![("n3", with(3, 3))]] {
        let (peers, refused) = encrypted(&known);
        assert_eq!(peers, [""; 0]);
        assert!(refused[0].starts_with(&says("n2", "n3")) && refused[1].starts_with(&says("n3", "n2")));
    }
    // Of two who were believed with it while nobody encrypted, nothing tells who had it first.
    let (peers, refused) = encrypted(&both);
    assert_eq!((peers.len(), refused.len()), (0, 2), "{refused:?}");
    // An honest node that moves keeps its key.
    let moved = ("n2", Claim { addresses: vec!["192.0.2.22".parse().unwrap()], ..with(2, 2) });
    assert_eq!(judge_keys(Backend::Wireguard, &[honest], &[moved, thief]).0, ["n2"]);
    assert_eq!(judge_keys(Backend::Vxlan, &[], &both).0, ["n2", "n3"], "who does not encrypt needs no key");
    let (peers, refused) = judge_keys(Backend::Wireguard, &[], &[("n4", with(4, 1))]);
    assert!(peers.is_empty() && refused[0].starts_with("n4: it claims this node's key of WireGuard"));
}
