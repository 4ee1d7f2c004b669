use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::ipam::range::{Range, RangeSet};

const SECOND: Duration = Duration::from_secs(1);

fn set(subnet: &str) -> RangeSet {
    RangeSet::new(vec![Range::new(subnet.parse().unwrap(), None, None, None).unwrap()]).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn owner(container_id: &str) -> Owner<'_> {
    Owner { container_id, ifname: "eth0" }
}

fn no_records() -> Option<HashSet<IpAddr>> {
    Some(HashSet::new())
}

fn reserve(
    store: &Store,
    container_id: &str,
    set: &RangeSet,
    address: Option<&str>,
    now: Duration,
) -> Result<IpAddr, Refusal> {
    let wants = [Want { set, address: address.map(ip) }];
    let recorded = Recorded::new(&no_records);
    let taken = store.lock().unwrap().reserve(&wants, &owner(container_id), &recorded, now)?;
    Ok(taken[0])
}

fn take(store: &Store, container_id: &str, subnet: &str) -> Option<String> {
    let taken = reserve(store, container_id, &set(subnet), None, SECOND);
    taken.ok().map(|ip| ip.to_string())
}

/// A store in a new folder. The folder is removed with the first value.
fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(&folder.path().join("net"));
    (folder, store)
}

fn names(store: &Store) -> Vec<String> {
    let entries = fs::read_dir(&store.folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_lease_is_written_as_host_local_writes_it_and_released_by_its_owner_only() {
    let (_folder, store) = store();
    assert_eq!(take(&store, "c1", "10.0.0.0/29").unwrap(), "10.0.0.2");
    assert_eq!(fs::read(store.folder.join("10.0.0.2")).unwrap(), b"c1\r\neth0");
    let address = ip("10.0.0.2");
    store.release(&[address], &owner("c2"), SECOND).unwrap();
    assert!(store.folder.join("10.0.0.2").exists());
    assert_eq!(store.held_by(&owner("c1")).unwrap(), [address]);
    store.release(&[address], &owner("c1"), SECOND).unwrap();
    store.release(&[address], &owner("c1"), SECOND).unwrap();
    assert!(store.held_by(&owner("c1")).unwrap().is_empty());
}

#[test]
fn releasing_makes_no_folder() {
    let (_folder, store) = store();
    store.release(&[ip("10.0.0.2")], &owner("c1"), SECOND).unwrap();
    assert!(!store.folder.exists());
}

#[test]
fn a_full_range_gives_the_address_that_was_released_first() {
    let (_folder, store) = store();
    for _ in 0..5 {
        assert!(take(&store, "c", "10.0.0.0/29").is_some());
    }
    assert_eq!(take(&store, "c", "10.0.0.0/29"), None);
    for (second, free) in [(1, "10.0.0.6"), (2, "10.0.0.3")] {
        store.release(&[ip(free)], &owner("c"), SECOND * second).unwrap();
    }
    assert_eq!(take(&store, "d", "10.0.0.0/29").unwrap(), "10.0.0.6");
    assert_eq!(take(&store, "d", "10.0.0.0/29").unwrap(), "10.0.0.3");
    assert_eq!(take(&store, "d", "10.0.0.0/29"), None);
}

#[test]
fn beside_the_leases_lie_host_locals_files_and_hidden_ones() {
    let (_folder, store) = store();
    store.probe().unwrap();
    take(&store, "c", "10.0.0.0/29").unwrap();
    let hint = format!(".taken.{}", set("10.0.0.0/29").fingerprint());
    assert_eq!(names(&store), [&hint, "10.0.0.2", "last_reserved_ip.0", "lock"]);
    store.release(&[ip("10.0.0.2")], &owner("c"), SECOND).unwrap();
    assert_eq!(names(&store), [".cooling", &hint, "last_reserved_ip.0", "lock"]);
}

#[test]
fn all_sets_give_or_none_does() {
    let (_folder, store) = store();
    let (v6, v4) = (set("fd00::/64"), set("10.0.0.0/30"));
    let wants = [Want { set: &v6, address: None }, Want { set: &v4, address: None }];
    let recorded = Recorded::new(&no_records);
    let reserve = |id| store.lock().unwrap().reserve(&wants, &owner(id), &recorded, SECOND);
    assert_eq!(reserve("c1").unwrap(), [ip("fd00::2"), ip("10.0.0.2")]);
    assert!(matches!(reserve("c2"), Err(Refusal::Full(1))));
    assert!(store.held_by(&owner("c2")).unwrap().is_empty());
}

#[test]
fn an_address_asked_for_is_given_or_its_owner_named() {
    let (_folder, store) = store();
    let set = set("10.0.0.0/24");
    let wanted = Some("10.0.0.9");
    assert_eq!(reserve(&store, "c1", &set, wanted, SECOND).unwrap(), ip("10.0.0.9"));
    let Err(Refusal::Taken(address, Some(holder))) = reserve(&store, "c2", &set, wanted, SECOND) else {
        panic!("it is taken")
    };
    assert_eq!((address, holder.container_id.as_str()), (ip("10.0.0.9"), "c1"));
    // A cool-down is no reason to refuse what was asked for, and ends with it.
    store.release(&[address], &owner("c1"), SECOND * 2).unwrap();
    assert_eq!(reserve(&store, "c2", &set, wanted, SECOND * 3).unwrap(), address);
    store.release(&[address], &owner("c2"), SECOND * 20).unwrap();
    fs::write(store.folder.join("last_reserved_ip.0"), "10.0.0.8").unwrap();
    assert_eq!(reserve(&store, "c3", &set, None, SECOND * 40).unwrap(), ip("10.0.0.10"));
}

#[test]
fn what_a_killed_process_left_is_in_nobodys_way() {
    let (_folder, store) = store();
    take(&store, "c1", "10.0.0.0/29").unwrap();
    // Killed between getting its name and losing the other one.
    fs::hard_link(store.folder.join("10.0.0.2"), store.temporary(&owner("c2"))).unwrap();
    fs::write(store.folder.join(".taken-tmp"), "half").unwrap();
    fs::write(store.folder.join(".cooling.tmp"), "half").unwrap();
    fs::write(store.folder.join("last_reserved_ip.0"), "").unwrap();
    assert_eq!(take(&store, "c2", "10.0.0.0/29").unwrap(), "10.0.0.3");
    assert_eq!(fs::read(store.folder.join("10.0.0.2")).unwrap(), b"c1\r\neth0");
}

#[test]
fn leases_without_content_are_nobodys_unless_a_record_names_them() {
    let (_folder, store) = store();
    fs::create_dir(&store.folder).unwrap();
    for empty in ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"] {
        fs::write(store.folder.join(empty), "").unwrap();
    }
    fs::create_dir(store.folder.join("10.0.0.6")).unwrap();
    let set = set("10.0.0.0/29");
    let reserve = |read: &dyn Fn() -> Option<HashSet<IpAddr>>, address| {
        let wants = [Want { set: &set, address }];
        store.lock().unwrap().reserve(&wants, &owner("c"), &Recorded::new(read), SECOND)
    };
    let unreadable = || None;
    assert!(matches!(reserve(&unreadable, None), Err(Refusal::Full(0))));
    let recorded = || Some(HashSet::from([ip("10.0.0.2"), ip("10.0.0.4")]));
    assert_eq!(reserve(&recorded, None).unwrap(), [ip("10.0.0.3")]);
    assert!(matches!(reserve(&recorded, Some(ip("10.0.0.4"))), Err(Refusal::Taken(_, None))));
    assert_eq!(reserve(&recorded, Some(ip("10.0.0.5"))).unwrap(), [ip("10.0.0.5")]);
    assert!(matches!(reserve(&recorded, None), Err(Refusal::Full(0))));
}

#[test]
fn what_others_left_in_the_folder_harms_nobody() {
    let (_folder, store) = store();
    fs::create_dir_all(store.folder.join("10.0.0.2")).unwrap();
    nix::unistd::mkfifo(&store.folder.join("10.0.0.3"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", store.folder.join("10.0.0.4")).unwrap();
    fs::write(store.folder.join("10.0.0.5"), "c1").unwrap();
    fs::write(store.folder.join("README"), "c1\r\neth0").unwrap();
    assert_eq!(take(&store, "c2", "10.0.0.0/29").unwrap(), "10.0.0.6");
    assert_eq!(store.held_by(&owner("c1")).unwrap(), [ip("10.0.0.5")]);
    store.release(&[ip("10.0.0.4"), ip("10.0.0.5")], &owner("c1"), SECOND).unwrap();
    assert_eq!(store.leases().unwrap().len(), 1);
}

/// One step of somebody's life with a store of 13 addresses.
#[derive(Clone, Debug)]
enum Step {
    Reserve,
    Ask(u8),
    Release(usize),
    Later(u64),
    /// The node boots: the clock begins again.
    Boot,
    /// Files of hints are lost or damaged.
    LoseHint,
    LoseQueue,
    Garble,
    /// host-local takes or frees an address.
    Foreign(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Reserve),
        2 => (2u8..=14).prop_map(Step::Ask),
        8 => (0usize..13).prop_map(Step::Release),
        4 => (0u64..40).prop_map(Step::Later),
        1 => Just(Step::Boot),
        1 => Just(Step::LoseHint),
        1 => Just(Step::LoseQueue),
        1 => Just(Step::Garble),
        1 => (2u8..=14).prop_map(Step::Foreign),
    ]
}

/// What is true of the store, by the simplest means.
#[derive(Default)]
struct Model {
    taken: BTreeMap<IpAddr, String>,
    released: BTreeMap<IpAddr, Duration>,
    now: Duration,
    /// Nobody lost or damaged what the cool-down stands on.
    intact: bool,
}

impl Model {
    fn rests(&self, address: IpAddr) -> bool {
        self.released.get(&address).is_some_and(|at| self.now - *at < SECOND * 30)
    }

    /// Whether `given` was a right choice.
    fn check_choice(&self, given: IpAddr) {
        assert!(!self.taken.contains_key(&given), "{given} was given twice");
        if !self.intact || !self.rests(given) {
            return;
        }
        for address in (2..=14).map(|last| IpAddr::from([10, 0, 0, last])) {
            let free = !self.taken.contains_key(&address);
            assert!(!free || self.rests(address), "{given} rests, {address} does not");
            assert!(!free || self.released[&address] >= self.released[&given], "{address} rests longer");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn a_store_is_a_set_that_prefers_what_was_released_long_ago(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        live(steps);
    }
}

fn live(steps: Vec<Step>) {
    let (_folder, store) = store();
    fs::create_dir(&store.folder).unwrap();
    let set = set("10.0.0.0/28");
    let mut model = Model { intact: true, now: SECOND * 100, ..Model::default() };
    for (number, step) in steps.into_iter().enumerate() {
        let id = format!("c{number}");
        match step {
            Step::Reserve => model.take(&store, &set, id, None),
            Step::Ask(last) => model.take(&store, &set, id, Some(IpAddr::from([10, 0, 0, last]))),
            Step::Release(nth) => model.release(&store, nth),
            Step::Foreign(last) => model.change_by_hand(&store, id, IpAddr::from([10, 0, 0, last])),
            Step::Later(seconds) => model.now += SECOND * u32::try_from(seconds).unwrap(),
            Step::Boot => {
                model.now = SECOND;
                model.intact = false;
            }
            Step::LoseHint => drop(fs::remove_file(hint_of(&store, &set))),
            Step::LoseQueue => {
                drop(fs::remove_file(store.folder.join(".cooling")));
                model.intact = false;
            }
            Step::Garble => {
                [hint_of(&store, &set), store.folder.join(".cooling")].iter().for_each(|path| garble(path));
                model.intact = false;
            }
        }
        let leases = store.leases().unwrap().into_iter();
        let on_disk: BTreeMap<_, _> = leases.map(|(ip, who)| (ip, who.unwrap().container_id)).collect();
        assert_eq!(on_disk, model.taken);
    }
}

fn hint_of(store: &Store, set: &RangeSet) -> PathBuf {
    store.folder.join(format!(".taken.{}", set.fingerprint()))
}

/// Leaves the magic, and turns over bits of all that follows.
fn garble(path: &Path) {
    if let Ok(mut bytes) = fs::read(path) {
        bytes.iter_mut().skip(8).for_each(|byte| *byte ^= 0x5a);
        fs::write(path, bytes).unwrap();
    }
}

impl Model {
    fn take(&mut self, store: &Store, set: &RangeSet, id: String, asked: Option<IpAddr>) {
        let text = asked.map(|asked| asked.to_string());
        match reserve(store, &id, set, text.as_deref(), self.now) {
            Ok(given) => {
                match asked {
                    Some(asked) => assert!(given == asked && !self.taken.contains_key(&given)),
                    None => self.check_choice(given),
                }
                self.released.remove(&given);
                self.taken.insert(given, id);
            }
            Err(Refusal::Full(0)) => assert_eq!(self.taken.len(), 13),
            Err(Refusal::Taken(address, Some(holder))) => {
                assert_eq!(self.taken[&address], holder.container_id);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn release(&mut self, store: &Store, nth: usize) {
        let Some((address, id)) = self.taken.iter().nth(nth) else { return };
        let (address, id) = (*address, id.clone());
        store.release(&[address], &owner(&id), self.now).unwrap();
        self.taken.remove(&address);
        self.released.insert(address, self.now);
    }

    fn change_by_hand(&mut self, store: &Store, id: String, address: IpAddr) {
        let path = store.folder.join(address.to_string());
        if self.taken.remove(&address).is_some() {
            fs::remove_file(path).unwrap();
            self.released.insert(address, Duration::ZERO);
        } else {
            fs::write(path, format!("{id}\r\neth0")).unwrap();
            self.taken.insert(address, id);
        }
        // The hint learns of it when the range is full; until then the choice may be another.
        self.intact = false;
    }
}
