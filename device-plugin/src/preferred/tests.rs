//! Through the face that the kubelet sees.

use super::*;
use crate::config::resource_name::ResourceName;
use crate::config::sharing::{Mode, Placement, Sharing};
use crate::device::{Device, Found, Kind};
use crate::inventory::tests::{devices, moment};
use crate::inventory::{self, Snapshot};

mod golden;
mod witness;

fn snapshot(found: Vec<Found>, sharing: Sharing) -> Snapshot {
    of_devices(inventory::merge(&[], found, moment(1)), sharing)
}

fn of_devices(devices: Vec<Device>, sharing: Sharing) -> Snapshot {
    Snapshot::new(ResourceName::parse("example.com/x").unwrap(), devices, sharing)
}

fn asked<S: AsRef<str>>(snapshot: &Snapshot, available: &[S], must: &[S], size: i32) -> Vec<String> {
    let owned = |ids: &[S]| ids.iter().map(|id| id.as_ref().to_owned()).collect();
    let container = ContainerPreferredAllocationRequest {
        available_device_i_ds: owned(available),
        must_include_device_i_ds: owned(must),
        allocation_size: size,
    };
    let request = PreferredAllocationRequest { container_requests: vec![container] };
    preferred(snapshot, &request).container_responses.remove(0).device_i_ds
}

/// All that are listed are available.
fn of_all(snapshot: &Snapshot, size: i32) -> Vec<String> {
    let ids: Vec<_> = snapshot.ids().map(|(id, _)| id.to_owned()).collect();
    asked(snapshot, &ids, &[], size)
}

/// Card `n` as `gN`, two digits so that they are ordered as their numbers.
fn card(number: usize) -> Found {
    Found::new(Kind::Nvidia, format!("g{number:02}"), format!("g{number:02}"))
}

/// Part `part` of card `n`.
fn part(number: usize, part: usize) -> Found {
    let id = format!("g{number:02}-{part}");
    Found { parent: Some(format!("card{number:02}")), ..Found::new(Kind::Nvidia, id.clone(), id) }
}

fn chosen(replicas: u32, available: &[&str], must: &[&str], size: i32) -> Vec<String> {
    let devices = devices(&["/dev/a", "/dev/b", "/dev/c"]);
    asked(&of_devices(devices, Sharing::among(replicas)), available, must, size)
}

#[test]
fn the_first_devices_of_the_list_are_preferred() {
    assert_eq!(chosen(1, &["c", "a", "b"], &[], 2), ["a", "b"]);
    assert_eq!(chosen(1, &["c", "a", "b"], &["c"], 2), ["c", "a"]);
}

#[test]
fn another_device_is_preferred_to_another_replica() {
    let available = ["a::0", "a::1", "b::0", "b::1"];
    assert_eq!(chosen(2, &available, &[], 2), ["a::0", "b::0"]);
    assert_eq!(chosen(2, &available, &["b::1"], 3), ["b::1", "a::0", "a::1"]);
}

#[test]
fn the_replicas_of_the_least_used_devices_are_preferred() {
    let available = ["a::2", "b::0", "b::1", "c::0", "c::1", "c::2"];
    assert_eq!(chosen(3, &available, &[], 1), ["c::0"]);
    assert_eq!(chosen(3, &available, &[], 2), ["b::0", "c::0"]);
    assert_eq!(chosen(3, &available, &[], 5), ["a::2", "b::0", "b::1", "c::0", "c::1"]);
}

#[test]
fn a_request_that_makes_no_sense_still_gets_an_answer() {
    assert_eq!(chosen(1, &["a", "nobody"], &[], 5), ["a"]);
    assert_eq!(chosen(1, &["a"], &["nobody"], 1), ["nobody"]);
    assert_eq!(chosen(1, &["a"], &["nobody"], 2), ["nobody", "a"]);
    assert_eq!(chosen(1, &["a", "a", "a"], &[], 3), ["a"]);
    assert_eq!(chosen(1, &["a", "b"], &["a", "a"], 2), ["a", "b"]);
    assert_eq!(chosen(1, &["a"], &["b", "c"], 1), ["b", "c"]);
    assert_eq!(chosen(1, &["a"], &["b"], i32::MIN), ["b"]);
    assert_eq!(chosen(1, &["a"], &[], i32::MAX), ["a"]);
    assert!(chosen(1, &["a"], &[], -1).is_empty());
    assert!(chosen(1, &[], &[], 3).is_empty());
}

#[test]
fn what_is_unhealthy_is_in_the_answer_only_where_it_must() {
    let known = devices(&["/dev/a", "/dev/b", "/dev/c"]);
    let vanished = inventory::merge(&known, vec![known[1].found.clone(), known[2].found.clone()], moment(2));
    let snapshot = of_devices(vanished, Sharing::EXCLUSIVE);
    assert_eq!(asked(&snapshot, &["a", "b", "c"], &[], 3), ["b", "c"]);
    assert_eq!(asked(&snapshot, &["a", "b", "c"], &["a"], 2), ["a", "b"]);
}

#[test]
fn units_of_memory_are_packed() {
    let gibibytes = |number, memory| Found { memory: Some(memory), ..card(number) };
    let sharing =
        Sharing { mode: Mode::Memory { unit: 1 }, placement: Placement::Packed, ..Sharing::EXCLUSIVE };
    let snapshot = snapshot(vec![gibibytes(0, 4), gibibytes(1, 2), gibibytes(2, 3)], sharing);
    assert_eq!(of_all(&snapshot, 2), ["g01::0", "g01::1"]);
    assert_eq!(of_all(&snapshot, 3), ["g02::0", "g02::1", "g02::2"]);
    let both = of_all(&snapshot, 6);
    assert_eq!(both, ["g00::0", "g00::1", "g00::2", "g00::3", "g01::0", "g01::1"]);
    let beside = asked(&snapshot, &["g00::0", "g00::1", "g01::0", "g01::1", "g02::1"], &["g02::0"], 2);
    assert_eq!(beside, ["g02::0", "g02::1"]);
}

#[test]
fn parts_of_cards_are_packed_and_whole_cards_stay_whole() {
    let parts: Vec<_> = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)].map(|(n, p)| part(n, p)).to_vec();
    let snapshot = snapshot(parts, Sharing::EXCLUSIVE);
    assert_eq!(of_all(&snapshot, 1), ["g02-0"]);
    assert_eq!(of_all(&snapshot, 2), ["g01-0", "g01-1"]);
    assert_eq!(of_all(&snapshot, 4), ["g00-0", "g00-1", "g00-2", "g02-0"]);
    assert_eq!(asked(&snapshot, &["g00-0", "g00-1", "g02-0"], &["g00-1"], 2), ["g00-1", "g00-0"]);
}

#[test]
fn parts_that_are_shared_are_used_evenly_card_by_card() {
    let parts: Vec<_> = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(n, p)| part(n, p)).to_vec();
    let snapshot = snapshot(parts, Sharing::among(2));
    assert_eq!(of_all(&snapshot, 2), ["g00-0::0", "g01-0::0"]);
    assert_eq!(of_all(&snapshot, 4), ["g00-0::0", "g00-1::0", "g01-0::0", "g01-1::0"]);
}

#[test]
fn spreading_uses_numa_nodes_evenly() {
    let on = |number, node| Found { numa: Some(node), ..card(number) };
    let sharing = Sharing { placement: Placement::SpreadNuma, ..Sharing::EXCLUSIVE };
    let snapshot = snapshot(vec![on(0, 0), on(1, 0), on(2, 0), on(3, 1), on(4, 1)], sharing);
    assert_eq!(of_all(&snapshot, 2), ["g00", "g03"]);
    assert_eq!(of_all(&snapshot, 4), ["g00", "g01", "g03", "g04"]);
    assert_eq!(asked(&snapshot, &["g00", "g01", "g04"], &["g01"], 2), ["g01", "g04"]);
}
