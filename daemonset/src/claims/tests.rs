use super::*;
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
        protocol: 1,
    }
}

fn verdict(uid: &str, cidrs: &[&str]) -> Option<Verdict> {
    let address = format!("192.0.2.{}", uid.trim_start_matches('u')).parse();
    Some(Verdict { uid: uid.into(), pod_cidrs: networks(cidrs), addresses: address.into_iter().collect() })
}

/// As node `n1` of a cluster whose pods are 10.244.0.0/16 and fd00:244::/48.
fn judge(claims: &[(&str, Claim)], verdicts: &[(&str, Option<Verdict>)]) -> (Vec<String>, Vec<String>) {
    let config =
        NodeConfig { cluster_cidrs: networks(&["10.244.0.0/16", "fd00:244::/48"]), ..NodeConfig::default() };
    let facts = NodeFacts {
        uid: "u1".into(),
        pod_cidrs: networks(&["10.244.1.0/24", "fd00:244:0:1::/64"]),
        node_ips: vec!["192.0.2.1".parse().unwrap()],
    };
    let claims = claims.iter().map(|(name, claim)| ((*name).to_owned(), Ok(claim.clone()))).collect();
    let verdicts = verdicts.iter().map(|(name, verdict)| ((*name).to_owned(), verdict.clone())).collect();
    let services = networks(&["10.244.200.0/25"]);
    let us = Standpoint { name: "n1", config: &config, facts: &facts, services: &services };
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
fn of_two_that_overlap_the_node_objects_decide() {
    let claims = [
        ("n2", claim("u2", "192.0.2.2", &["10.244.2.0/24"])),
        ("n3", claim("u3", "192.0.2.3", &["10.244.2.0/24"])),
    ];
    let right = ("n2", verdict("u2", &["10.244.2.0/24"]));
    let cases = [
        (vec![right.clone(), ("n3", verdict("u3", &["10.244.3.0/24"]))], vec!["n2"]),
        // Made anew since: its object is an earlier one's.
        (
            vec![("n2", verdict("other", &["10.244.2.0/24"])), ("n3", verdict("u3", &["10.244.2.0/24"]))],
            vec!["n3"],
        ),
        (vec![right, ("n3", None)], vec!["n2"]),
        (vec![], vec![]),
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
    let right = ("n2", verdict("u2", &["10.244.2.0/24"]));
    let thief = ("n3", verdict("u3", &["10.244.3.0/24"]));
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
fn only_overlapping_claims_are_undecided() {
    let claims: Claims = [
        ("a", claim("a", "192.0.2.1", &["10.0.0.0/8"])),
        ("b", claim("b", "192.0.2.2", &["10.1.0.0/16"])),
        ("c", claim("c", "192.0.2.3", &["10.1.2.0/24"])),
        ("d", claim("d", "192.0.2.4", &["11.0.0.0/8"])),
        ("e", claim("e", "192.0.2.5", &["10.200.0.0/16"])),
    ]
    .into_iter()
    .map(|(name, claim)| (name.to_owned(), Ok(claim)))
    .collect();
    let names = |verdicts: &Verdicts| undecided(&claims, verdicts).into_iter().collect::<Vec<_>>();
    assert_eq!(names(&Verdicts::new()), ["a", "b", "c", "e"]);
    assert_eq!(names(&Verdicts::from([("a".into(), None), ("e".into(), None)])), ["b", "c"]);
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
    assert!(undecided(&claims, &Verdicts::new()).is_empty());
    let facts = NodeFacts { pod_cidrs: networks(&["10.0.0.0/24"]), ..NodeFacts::default() };
    let us = Standpoint { name: "n0", config: &NodeConfig::default(), facts: &facts, services: &[] };
    assert_eq!(super::judge(&claims, &Verdicts::new(), us).peers.len(), 4999);
}
