//! `cargo demo`: the three programs at work on one throwaway node, without a cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tripod_tests::demo::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
