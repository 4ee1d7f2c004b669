//! Machines as they are built.

use super::*;

/// The cards of a machine whose links are `weight`.
fn machine(cards: usize, weight: impl Fn(usize, usize) -> u32, node: impl Fn(usize) -> u32) -> Snapshot {
    let linked = |one: usize| {
        let links = (0..cards).filter(|other| *other != one && weight(one, *other) > 0);
        let links = links.map(|other| (format!("g{other:02}"), weight(one, other))).collect();
        Found { links, numa: Some(node(one)), ..card(one) }
    };
    snapshot((0..cards).map(linked).collect(), Sharing::EXCLUSIVE)
}

/// The hybrid cube mesh of a DGX-1 with V100: how many NVLinks join two of its eight GPUs. Two processors
/// have four GPUs each.
const CUBE_MESH: [[u32; 8]; 8] = [
    [0, 1, 1, 2, 2, 0, 0, 0],
    [1, 0, 2, 1, 0, 2, 0, 0],
    [1, 2, 0, 2, 0, 0, 1, 0],
    [2, 1, 2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 1, 1, 2],
    [0, 2, 0, 0, 1, 0, 2, 1],
    [0, 0, 1, 0, 1, 2, 0, 2],
    [0, 0, 0, 1, 2, 1, 2, 0],
];

fn cube_mesh() -> Snapshot {
    machine(8, |one, other| CUBE_MESH[one][other], |card| u32::from(card > 3))
}

fn numbers(ids: &[String]) -> Vec<usize> {
    ids.iter().map(|id| id[1..].parse().unwrap()).collect()
}

#[test]
fn a_cube_mesh_gives_pairs_with_two_links_and_whole_halves() {
    let snapshot = cube_mesh();
    // Of all pairs with two links the one whose last card comes first.
    assert_eq!(numbers(&of_all(&snapshot, 2)), [1, 2]);
    assert_eq!(numbers(&of_all(&snapshot, 3)), [0, 2, 3]);
    assert_eq!(numbers(&of_all(&snapshot, 4)), [0, 1, 2, 3]);
    assert_eq!(numbers(&of_all(&snapshot, 8)), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn containers_one_after_the_other_each_get_a_pair_with_two_links() {
    let snapshot = cube_mesh();
    let mut free: Vec<_> = (0..8).map(|card| format!("g{card:02}")).collect();
    for _ in 0..4 {
        let pair = asked(&snapshot, &free, &[], 2);
        let numbers = numbers(&pair);
        assert_eq!(CUBE_MESH[numbers[0]][numbers[1]], 2, "{numbers:?} of {free:?}");
        free.retain(|id| !pair.contains(id));
    }
}

/// A pair whose partner is gone is broken already: who wants one takes what is left of it.
#[test]
fn a_container_that_wants_one_takes_the_least_connected_free_card() {
    let pairs = machine(8, |one, other| if one / 2 == other / 2 { 4 } else { 0 }, |_| 0);
    let free = |taken: &[usize]| -> Vec<_> {
        (0..8).filter(|card| !taken.contains(card)).map(|card| format!("g{card:02}")).collect()
    };
    assert_eq!(numbers(&asked(&pairs, &free(&[4]), &[], 1)), [5]);
    assert_eq!(numbers(&asked(&pairs, &free(&[1, 6]), &[], 1)), [0]);
    assert_eq!(numbers(&asked(&pairs, &free(&[1, 6]), &[], 2)), [2, 3]);
    assert_eq!(numbers(&asked(&pairs, &free(&[1, 6]), &[], 3)), [0, 2, 3]);
    assert_eq!(numbers(&asked(&cube_mesh(), &free(&[0, 1, 2]), &[], 1)), [3]);
}

/// Two boards with eight GPUs each: every GPU of a board reaches every other one over the board's
/// switches at full rate, and those of the other board over the links between the switches.
fn two_planes() -> Snapshot {
    machine(16, |one, other| if one / 8 == other / 8 { 12 } else { 6 }, |card| u32::from(card > 7))
}

#[test]
fn two_switched_boards_are_not_mixed_when_one_suffices() {
    let snapshot = two_planes();
    for size in 1..=8 {
        let numbers = numbers(&of_all(&snapshot, size));
        assert!(numbers.iter().all(|card| *card < 8), "{size}: {numbers:?}");
    }
    let free: Vec<_> = [1, 2, 3, 9, 10, 11, 12].map(|card: usize| format!("g{card:02}")).to_vec();
    assert_eq!(numbers(&asked(&snapshot, &free, &[], 4)), [9, 10, 11, 12]);
    assert_eq!(numbers(&asked(&snapshot, &free, &[], 5)), [1, 9, 10, 11, 12]);
}

/// One is needed, and one board has been broken into: the other stays whole.
#[test]
fn a_board_that_is_whole_stays_whole() {
    let snapshot = two_planes();
    let free: Vec<_> = (0..16).filter(|card| *card != 13).map(|card| format!("g{card:02}")).collect();
    assert_eq!(numbers(&asked(&snapshot, &free, &[], 1)), [8]);
}

#[test]
fn what_no_link_is_known_of_is_never_the_best() {
    let told = |one: usize, links: &[(usize, u32)]| Found {
        links: links.iter().map(|(other, weight)| (format!("g{other:02}"), *weight)).collect(),
        ..card(one)
    };
    let one_sided = snapshot(
        vec![told(0, &[(1, 99)]), told(1, &[]), told(2, &[(3, 1)]), told(3, &[(2, 1), (0, 99), (7, 99)])],
        Sharing::EXCLUSIVE,
    );
    assert_eq!(numbers(&of_all(&one_sided, 2)), [2, 3]);
}

#[test]
fn an_answer_has_as_many_devices_as_were_asked_for_and_each_once() {
    for snapshot in [cube_mesh(), two_planes()] {
        let count = i32::try_from(snapshot.devices().len()).unwrap();
        for size in 1..=count {
            let ids = of_all(&snapshot, size);
            let different: HashSet<_> = ids.iter().collect();
            let wanted = usize::try_from(size).unwrap();
            assert_eq!((ids.len(), different.len()), (wanted, wanted), "{ids:?}");
        }
    }
}

#[test]
fn parts_of_a_well_linked_pair_of_cards_go_together() {
    let linked = |number: usize, index, other: usize| Found {
        links: [(format!("card{other:02}"), 5)].into(),
        ..part(number, index)
    };
    let parts = vec![part(0, 0), part(0, 1), linked(1, 0, 2), linked(1, 1, 2), linked(2, 0, 1), part(2, 1)];
    let snapshot = snapshot(parts, Sharing::EXCLUSIVE);
    assert_eq!(of_all(&snapshot, 3), ["g01-0", "g01-1", "g02-0"]);
}

/// Of more than 16 cards so few are free that every set of them is looked at.
#[test]
fn a_large_machine_is_answered_exactly_when_little_is_free() {
    let heavy =
        |one: usize, other: usize| u32::from(one % 5 == other % 5) * 3 + u32::from(one / 5 == other / 5);
    let snapshot = machine(40, heavy, |_| 0);
    let free: Vec<_> = [3, 4, 5, 9, 14, 20, 21].map(|card: usize| format!("g{card:02}")).to_vec();
    assert_eq!(numbers(&asked(&snapshot, &free, &[], 3)), [4, 9, 14]);
    assert_eq!(numbers(&of_all(&snapshot, 8)).len(), 8);
}
