//! Which server is asked for which name, and how long each has.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::http::random;
use crate::step::Deadline;

use super::error::DnsError;
use super::message::{Answer, Family, Question};
use super::server::{self, Asked};
use super::settings::Settings;

/// The addresses of `host`, at least one. An incomplete name is completed as the settings say; only a server
/// that says that a name is not there leads to the next candidate.
pub(super) fn lookup(
    settings: &Settings,
    port: u16,
    host: &str,
    deadline: Deadline,
) -> Result<Vec<IpAddr>, DnsError> {
    let mut first = None;
    for name in settings.candidates(host) {
        match resolve(settings, port, &name, deadline) {
            Ok(found) => return Ok(found),
            Err(error @ (DnsError::NoSuchName { .. } | DnsError::NoAddress { .. })) => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| DnsError::Name { host: host.to_owned() }))
}

/// Asks every server, round after round, until one has a definite answer.
fn resolve(settings: &Settings, port: u16, name: &str, deadline: Deadline) -> Result<Vec<IpAddr>, DnsError> {
    let start = Instant::now();
    let rounds = settings.servers.repeat(usize::try_from(settings.attempts).unwrap_or(1));
    let mut failure = None;
    for (done, server) in rounds.iter().enumerate().take_while(|_| !deadline.is_past()) {
        let server = SocketAddr::new(*server, port);
        let time = share(settings.timeout, deadline.left(), rounds.len() - done);
        match ask(server, name, deadline.within(time)) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error @ (DnsError::Refused { .. } | DnsError::Unreachable { .. })) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failure.unwrap_or_else(|| DnsError::Silent {
        host: name.to_owned(),
        servers: list(&settings.servers, port),
        after: start.elapsed(),
    }))
}

/// Time for the next of `questions` yet to be asked: what the settings give each, or an equal share of what is
/// left, so that a dead server leaves time for the next.
fn share(timeout: Duration, left: Duration, questions: usize) -> Duration {
    timeout.min(left / u32::try_from(questions.max(1)).unwrap_or(u32::MAX))
}

/// What one server says in one round; none if it says nothing.
fn ask(server: SocketAddr, name: &str, deadline: Deadline) -> Result<Option<Vec<IpAddr>>, DnsError> {
    let host = || name.to_owned();
    let mut asked = [question(name, Family::V4)?, question(name, Family::V6)?];
    if asked.iter().any(|asked| asked.question.bytes().is_none()) {
        return Err(DnsError::Name { host: host() });
    }
    match server::ask(server, &mut asked, deadline) {
        Ok(()) => {}
        Err(error) if server::is_timeout(&error) => {}
        Err(_) if asked.iter().any(Asked::has_address) => {}
        Err(source) => return Err(DnsError::Unreachable { host: host(), server, source }),
    }
    judge(server, name, asked)
}

fn question(name: &str, family: Family) -> Result<Asked, DnsError> {
    let id = u16::from_ne_bytes(random::bytes().ok_or(DnsError::Random)?);
    Ok(Asked { question: Question { id, family, name: name.to_owned() }, answer: None })
}

/// Both families' answers as one. One family's addresses are enough; that there are none takes both.
fn judge(server: SocketAddr, name: &str, asked: [Asked; 2]) -> Result<Option<Vec<IpAddr>>, DnsError> {
    let host = name.to_owned();
    let mut found = Vec::new();
    let (mut unanswered, mut unknown) = (false, false);
    let mut refused = None;
    for asked in asked {
        match asked.answer {
            Some(Answer::Addresses(addresses)) => found.extend(addresses),
            // Some load balancers say so of the family that they lack.
            Some(Answer::NoSuchName) => unknown = true,
            Some(Answer::Refused(code)) => refused = Some(code),
            Some(Answer::Truncated) | None => unanswered = true,
        }
    }
    match (found.is_empty(), refused, unanswered) {
        (false, ..) => Ok(Some(found)),
        _ if unknown => Err(DnsError::NoSuchName { host, server }),
        (true, Some(code), _) => Err(DnsError::Refused { host, server, code }),
        (true, None, true) => Ok(None),
        (true, None, false) => Err(DnsError::NoAddress { host, server }),
    }
}

fn list(servers: &[IpAddr], port: u16) -> String {
    let servers: Vec<String> =
        servers.iter().map(|server| SocketAddr::new(*server, port).to_string()).collect();
    servers.join(",")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::share;

    #[test]
    fn a_dead_server_leaves_time_for_the_next() {
        let seconds = Duration::from_secs;
        assert_eq!(share(seconds(5), seconds(60), 6), seconds(5));
        assert_eq!(share(seconds(5), seconds(6), 6), seconds(1));
        assert_eq!(share(seconds(5), seconds(0), 0), seconds(0));
    }
}
