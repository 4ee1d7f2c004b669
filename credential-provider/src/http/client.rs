//! Calls, attempt after attempt, within the run's deadline.

use std::borrow::Cow;

use ureq::Agent;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use crate::step::{Deadline, Peer, Problem, StepError};

use super::call::{Call, Route};
use super::exchange::{self, Failure};
use super::proxy::{self, Proxy};
use super::reply::Reply;
use super::roots::Trust;
use super::tcp::Tcp;
use super::tls::Tls;
use super::{Network, random, retry};

/// Largest header of an answer, in bytes, its status line included.
const LARGEST_HEADER: usize = 32 * 1024;

/// Makes calls; keeps connections between them.
#[derive(Debug)]
pub struct Client {
    network: Network,
    agent: Agent,
    deadline: Deadline,
}

impl Client {
    /// One that reaches others as `network` says, until `deadline`. Touches neither disk nor network yet.
    pub fn new(network: &Network, deadline: Deadline) -> Self {
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(Tcp::new(deadline))
                .chain(Tls::new(Trust::new(network)));
        let agent = Agent::with_parts(settings(), connector, network.resolver.clone());
        Self { network: network.clone(), agent, deadline }
    }

    /// The same for calls that are over by `deadline`.
    pub fn until(&self, deadline: Deadline) -> Self {
        Self::new(&self.network, self.deadline.min(deadline))
    }

    /// The moment by which every call is over.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Makes one call. What comes back has a status that the call expects, 2xx unless it says otherwise.
    pub fn call(&self, call: Call) -> Result<Reply, StepError> {
        self.attempts(&call).map_err(|problem| {
            let hint = problem.remedy().map(Cow::Borrowed).or_else(|| call.hint.clone());
            StepError { step: call.step, problem, hint }
        })
    }

    fn attempts(&self, call: &Call) -> Result<Reply, Problem> {
        if !call.may_go() {
            return Err(Problem::PlainHttp { peer: Peer::direct(call.url.host_and_port()) });
        }
        let proxy = proxy::choose(&self.network, call)?;
        let mut failed = 0;
        loop {
            let failure = match self.attempt(call, proxy.as_ref()) {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            failed += 1;
            let chance = random::bytes().map_or(u16::MAX, u16::from_ne_bytes);
            let pause = retry::pause(failed, failure.asked, chance);
            if failed >= call.tries || pause >= self.deadline.left() || !is_passing(call, &failure) {
                return Err(failure.problem);
            }
            std::thread::sleep(pause);
        }
    }

    fn attempt(&self, call: &Call, proxy: Option<&Proxy>) -> Result<Reply, Failure> {
        let time = self.deadline.within(call.patience).left();
        if time.is_zero() {
            return Err(Problem::NoTimeLeft.into());
        }
        exchange::attempt(&self.agent, call, proxy, time)
    }
}

/// Nobody listens at a metadata address: then this is another platform, and waiting does not change it.
fn is_passing(call: &Call, failure: &Failure) -> bool {
    let absent = call.route == Route::Metadata && matches!(failure.problem, Problem::Connect { .. });
    failure.passing && !absent
}

fn settings() -> ureq::config::Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(LARGEST_HEADER)
        .user_agent(concat!("tripod-credential-provider/", env!("CARGO_PKG_VERSION")))
        // Else it would be read from the environment, by other rules than ours.
        .proxy(None)
        .build()
}
