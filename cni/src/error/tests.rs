use super::*;
use crate::spec::Version;

#[test]
fn a_failure_names_the_object_the_answer_and_the_remedy() {
    let error = Error::Unavailable(Box::new(Error::NotReady { marker: "/run/tripod/ready".into() }));
    let failure = error.failure(Version::V1_1_0);
    assert_eq!(failure.code, 50);
    assert!(failure.details.contains("/run/tripod/ready"), "{failure:?}");
}

#[test]
fn a_failed_undo_tells_both_stories() {
    let refused = |act| Error::kernel(act, "eth0")(io::Error::from_raw_os_error(1));
    let error = Error::NotUndone { cause: Box::new(refused("create")), undo: Box::new(refused("delete")) };
    let failure = error.failure(Version::V1_1_0);
    assert_eq!(failure.code, 5);
    let told = "cannot create eth0; undoing failed too: cannot delete eth0: Operation not permitted";
    assert!(failure.msg.starts_with(told) && failure.msg.ends_with("repairs it"), "{failure:?}");
    assert!(failure.details.starts_with("Operation not permitted"), "{failure:?}");
}

#[test]
fn long_values_are_cut_at_a_character() {
    assert_eq!(shorten(&"ü".repeat(500)).chars().count(), 241);
    let long = "k".repeat(500);
    let error = Error::config(format!("sysctl.{long}"), &long, "is wrong").to_string();
    assert!(error.contains("sysctl.k") && error.chars().count() < 600, "{error}");
}

#[test]
fn a_failed_undo_keeps_the_remedy_of_its_cause() {
    let exists = Error::InterfaceExists { ifname: "eth0".into(), place: "in the sandbox" };
    let undo = Error::kernel("delete", "eth0")(io::Error::from_raw_os_error(1));
    let error = Error::NotUndone { cause: Box::new(exists), undo: Box::new(undo) };
    assert!(error.in_one_line().ends_with("or let the runtime DEL the old attachment"), "{error}");
}

#[test]
fn what_an_available_node_lacks_is_told_with_the_remedy() {
    let error = Error::Unavailable(Box::new(Error::NotReady { marker: "/run/tripod/ready".into() }));
    assert!(error.in_one_line().ends_with("or read its log"), "{}", error.in_one_line());
}

#[test]
fn of_many_failures_three_are_told_with_their_attachments() {
    let failure = |id: &str| {
        let cause = Error::kernel("delete", "tp1")(io::Error::from_raw_os_error(1));
        cause.about(&Owner { container_id: id, ifname: "eth0" })
    };
    assert!(Error::together(Vec::new(), 9).is_ok());
    let one = Error::together(vec![failure("c1")], 9).unwrap_err().to_string();
    assert_eq!(one, "container c1 on eth0: cannot delete tp1");
    let all = ["c1", "c2", "c3", "c4", "c5"].map(failure).into();
    let several = Error::together(all, 40).unwrap_err();
    assert_eq!(several.code(), 5);
    let told = several.to_string();
    let begin =
        "5 of 40 attachments could not be released: container c1 on eth0: cannot delete tp1: Operation";
    assert!(told.starts_with(begin) && told.ends_with("; and 2 more"), "{told}");
    assert!(told.contains("container c3") && !told.contains("container c4"), "{told}");
}

#[test]
fn each_error_that_somebody_can_do_something_about_says_what() {
    let os = io::Error::from_raw_os_error;
    let state = |errno| Error::state("write", Path::new("/run/x"))(os(errno));
    let netns = |source| Error::Netns { path: "/n".into(), problem: "x", source };
    for (error, remedy) in [
        (Error::LockHeld { store: "/run/tripod/ipam/pods".into() }, "fuser -v /run/tripod/ipam/pods/lock"),
        (state(28), "make room"),
        (state(30), "remount"),
        (netns(Some(os(1))), "as root"),
        (netns(Some(os(2))), "before ADD"),
        (netns(Some(os(22))), "/run/netns"),
        (netns(None), "CNI_NETNS_OVERRIDE"),
        (Error::Exhausted { network: "n".into(), set: 0, ranges: "r".into() }, "`tripod-cni leases`"),
        (Error::Deadline { verb: "ADD", seconds: 30 }, "the node's load"),
        (Error::StdinTooLong { limit: 1 }, "shorten"),
        (Error::KernelFeature { feature: "f", source: os(95) }, "load or build it"),
        (Error::PluginMissing { plugin: "p".into(), path: "/x".into() }, "gone for good"),
    ] {
        assert!(error.in_one_line().contains(remedy), "{}", error.in_one_line());
    }
}
