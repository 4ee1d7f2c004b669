//! `cargo run -p tripod-tests --bin calls`: what an ADD and a DEL of the release program ask of the kernel.

use std::process::ExitCode;

use tripod_tests::calls::{self, Calls};
use tripod_tests::programs::{self, Profile};

fn main() -> ExitCode {
    let folder = programs::build(Profile::Release, &["tripod-cni"]).expect("the release build");
    let Some((add, del)) = calls::count(&folder.join("tripod-cni")) else { return ExitCode::FAILURE };
    for (verb, calls) in [("ADD", add), ("DEL", del)] {
        print(verb, &calls);
    }
    ExitCode::SUCCESS
}

fn print(verb: &str, calls: &Calls) {
    println!("{verb}: {} requests by netlink, {} system calls", calls.requests.len(), calls.total());
    println!("  {}", calls.requests.join(" "));
    let mut system: Vec<_> = calls.system.iter().collect();
    system.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let system: Vec<String> = system.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!("  {}", system.join(", "));
}
