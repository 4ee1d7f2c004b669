//! What a call asks of the kernel, against what the crate's documentation says and justifies.

use tripod_tests::calls::{self, Calls};
use tripod_tests::programs;

/// The two numbers in `row` of the table in the documentation.
fn documented(row: &str) -> (usize, usize) {
    let text = include_str!("../../../cni/src/lib.rs");
    let line = text.lines().find(|line| line.starts_with(&format!("//! | {row} |"))).expect("the row");
    let numbers: Vec<usize> = line.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
    let [requests, system] = numbers[..] else { panic!("two numbers in {line:?}") };
    (requests, system)
}

fn assert_no_more_than_documented(row: &str, calls: &Calls) {
    let (requests, system) = documented(row);
    assert!(calls.requests.len() <= requests, "{row}: more than {requests} requests: {:?}", calls.requests);
    assert!(calls.total() <= system, "{row}: {} system calls, more than {system}: {calls:?}", calls.total());
}

#[test]
fn add_and_del_ask_no_more_of_the_kernel_than_the_documentation_says() {
    let Some((add, del)) = calls::count(&programs::program("tripod-cni")) else { return };
    assert_no_more_than_documented("ADD", &add);
    assert_no_more_than_documented("DEL", &del);
}
