//! TCP connections that end with the run, whatever the layers above ask of them.

use ureq::Error;
use ureq::Timeout;
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

use crate::step::{Deadline, Peer, Problem, Stage};

/// Opens connections, and names the far end when that fails.
#[derive(Debug)]
pub(super) struct Tcp {
    inner: TcpConnector,
    deadline: Deadline,
}

/// A connection of which no read or write outlasts the run: a proxy that answers byte by byte would otherwise
/// start the clock anew with each.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    inner: T,
    deadline: Deadline,
}

impl Tcp {
    pub(super) fn new(deadline: Deadline) -> Self {
        Self { inner: TcpConnector::default(), deadline }
    }
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Bounded<<TcpConnector as Connector<In>>::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let connected = self.inner.connect(details, chained).map_err(|error| name(error, details))?;
        Ok(connected.map(|inner| Bounded { inner, deadline: self.deadline }))
    }
}

impl<T: Transport> Bounded<T> {
    fn bounded(&self, timeout: NextTimeout) -> Result<NextTimeout, Error> {
        let left = self.deadline.left();
        if left.is_zero() {
            return Err(Error::Timeout(Timeout::Global));
        }
        Ok(NextTimeout { after: timeout.after.min(left.into()), ..timeout })
    }
}

impl<T: Transport> Transport for Bounded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, self.bounded(timeout)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(self.bounded(timeout)?)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The far end of a connection that is being made: the proxy, while it is the proxy that is reached for.
pub(super) fn peer(details: &ConnectionDetails<'_>) -> Peer {
    Peer::direct(format!("{}:{}", details.uri.host().unwrap_or_default(), port(details.uri)))
}

/// The port of `uri`, spelled out or its scheme's.
pub(super) fn port(uri: &Uri) -> u16 {
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    uri.port_u16().unwrap_or(default)
}

fn name(error: Error, details: &ConnectionDetails<'_>) -> Error {
    let peer = peer(details);
    let problem = match error {
        Error::Timeout(_) => Problem::Timeout { stage: Stage::Connect, peer, after: *details.timeout.after },
        Error::Io(source) => Problem::Connect { peer, source },
        other => return other,
    };
    Error::Other(problem.into())
}
