//! Arguments and standard output go in, an exit code comes out.

use std::process::ExitCode;

fn main() -> ExitCode {
    tripod_device_plugin::run(std::env::args_os(), &mut std::io::stdout())
}
