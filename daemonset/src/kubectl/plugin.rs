//! This very program, for an admin's machine: so the plugin is of the version that the cluster runs.

use std::fs::File;
use std::io::{self, IsTerminal, Write};

/// The running program's own file, whatever became of its name.
const ITSELF: &str = "/proc/self/exe";

/// Writes it to `stdout`, unless a person would have to look at it.
pub(crate) fn write(stdout: &mut (impl Write + IsTerminal)) -> io::Result<()> {
    if stdout.is_terminal() {
        return Err(io::Error::other(
            "standard output is a terminal: let it be a file, as in … kubectl-plugin > kubectl-tripod",
        ));
    }
    io::copy(&mut File::open(ITSELF)?, stdout)?;
    stdout.flush()
}
