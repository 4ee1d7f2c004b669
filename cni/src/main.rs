//! The real environment and stdio for [`tripod_cni::run`], and the exit code.

#![no_main]

use std::env;
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::libc::c_int;
use nix::sys::signal::{SigSet, Signal};
use tripod_cni::{Dirs, Env, Persona, Reply};

/// What the C library starts. The standard library's own start takes longer than all of VERSION: it reads
/// how the stack is mapped, to guard its end, and makes another one for the handler that tells of it; what
/// comes from outside is bounded, so nothing here goes deep.
// SAFETY: a static program has one `main`, and this has its signature without the arguments, which the
// standard library notes before.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the name of this symbol is the C library's to choose")]
extern "C" fn main() -> c_int {
    // A runtime that is gone must not end us half-way. Programs that we execute get it unblocked.
    let blocked = SigSet::from(Signal::SIGPIPE).thread_block();
    c_int::from(blocked.is_err() || !call())
}

/// Whether all went well.
fn call() -> bool {
    panic::set_hook(Box::new(|what| {
        let place = what.location().map_or_else(String::new, ToString::to_string);
        let failure = tripod_cni::internal_error(&place);
        // The program is ending already; there is nobody left to tell that stdout is gone too.
        drop(tripod_cni::print(io::stdout(), &failure));
    }));
    let persona = persona(env::args_os().next().as_deref().map(Path::new));
    let (env, dirs) = (environment(), Dirs::default());
    let words: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if !words.is_empty() && !env.contains_key("CNI_COMMAND") {
        return tell(&words, &env, &dirs);
    }
    let (begin, mut agent) = (Instant::now(), None);
    let reply = tripod_cni::run_told(persona, &env, io::stdin().lock(), &dirs, &mut agent);
    match answer(persona, &reply) {
        Ok(()) => {
            if let (Some(agent), Persona::Tripod) = (agent, persona) {
                let op = env.get("CNI_COMMAND").map_or("", String::as_str);
                tripod_cni::telemetry::Report::new(op, &reply, begin.elapsed()).send(&agent);
            }
            !matches!(reply, Reply::Failure(_))
        }
        Err(_stdout_is_gone) => {
            // Should this fail too, there is nobody to tell; DEL and GC still have the record.
            drop(tripod_cni::take_back(persona, &env, &dirs));
            false
        }
    }
}

/// Answers a person.
fn tell(words: &[String], env: &Env, dirs: &Dirs) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let plugins = env.get("CNI_PATH").map_or("/opt/cni/bin", String::as_str);
    let plugins: Vec<PathBuf> =
        plugins.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect();
    let answer = tripod_cni::answer(&words, dirs, &plugins);
    let told = io::stdout()
        .write_all(answer.text.as_bytes())
        .and_then(|()| io::stderr().write_all(answer.problems.as_bytes()));
    told.is_ok() && answer.good
}

fn persona(program: Option<&Path>) -> Persona {
    match program.and_then(Path::file_name) {
        Some(name) if name == "loopback" => Persona::Loopback,
        Some(name) if name == "tripod-ipam" => Persona::Ipam,
        _ => Persona::Tripod,
    }
}

/// Variables that are no Unicode are not ours, nor is what a runtime hands down of its own environment.
fn environment() -> Env {
    env::vars_os()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CNI_"))
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn answer(persona: Persona, reply: &Reply) -> io::Result<()> {
    match reply {
        Reply::Success(None) => Ok(()),
        Reply::Success(Some(document)) => tripod_cni::print(io::stdout(), document),
        Reply::Failure(failure) => tripod_cni::print(io::stdout(), failure),
        Reply::About => io::stderr().write_all(tripod_cni::about(persona).as_bytes()),
    }
}
