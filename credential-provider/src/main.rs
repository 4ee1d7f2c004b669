//! The program: hands over arguments and stdin, writes what comes back.

#![no_main]

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::c_int;
use nix::sys::signal::{SigSet, Signal};
use tripod_credential_provider::provider::Variables;
use tripod_credential_provider::{Environment, run, telemetry};

/// What the C library starts. The standard library's own start takes about as long as all that an answer from the
/// cache needs: it reads how the stack is mapped, to guard its end, and makes another one for the handler that
/// tells of it; what comes from outside is bounded, so nothing here goes deep.
// SAFETY: a static program has one `main`, and this has its signature without the arguments, which the
// standard library notes before.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the name of this symbol is the C library's to choose")]
extern "C" fn main() -> c_int {
    // A kubelet or a helper that is gone must not end us half-way. Programs that we execute get it unblocked.
    let blocked = SigSet::from(Signal::SIGPIPE).thread_block();
    c_int::from(blocked.is_err() || !are_open() || !call())
}

/// Whether nothing else can get the number of one of the three, and be sent the credentials.
fn are_open() -> bool {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].iter().all(|fd| fcntl(fd, FcntlArg::F_GETFD).is_ok())
}

/// Whether all went well.
fn call() -> bool {
    // A panic's own text could quote what was being read.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        complain(&format!("tripod-credential-provider: internal error at {place}; please report it"));
    }));
    let start = Instant::now();
    let mut stdin = io::stdin().lock();
    let outcome = run(Environment {
        arguments: std::env::args_os().skip(1).collect(),
        stdin_is_terminal: stdin.is_terminal(),
        stdin: &mut stdin,
        folder: std::env::current_exe()
            .ok()
            .and_then(|path| path.parent().map(PathBuf::from))
            .unwrap_or_default(),
        start,
        variables: Variables::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        ),
    });
    complain(&outcome.stderr);
    if let Err(error) = write_out(outcome.stdout.expose()) {
        complain(&format!("tripod-credential-provider: cannot write the answer to stdout: {error}"));
        return false;
    }
    if let Some(told) = outcome.told {
        told.send(Path::new(telemetry::SOCKET), start.elapsed());
    }
    outcome.success
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// A line on stderr; if nobody can read it there, nobody can be told. Only a terminal gets the line break:
/// the kubelet puts the text into a line of its own log, which a break at the end would turn into three.
fn complain(line: &str) {
    let mut stderr = io::stderr().lock();
    let _unheard = stderr.write_all(line.as_bytes());
    if !line.is_empty() && stderr.is_terminal() {
        let _unheard = stderr.write_all(b"\n");
    }
}
