//! The stand-in's connections, which can be made to break after so many bytes.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::{Connected, UdsConnectInfo};
use tonic::transport::{Channel, Endpoint};

use super::ledger::Ledger;

const DIAL: Duration = Duration::from_secs(10);
/// What grpc-go lets a peer send ahead of the reader of a stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Of a connection it reads everything, so that one stream does not hold up another.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// A connection over which only so many bytes pass, both directions counted together.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    left: Option<usize>,
    ledger: Ledger,
}

impl Wire {
    /// Counts from here, if the stand-in was told to sever what is connected now.
    pub(super) fn new(stream: UnixStream, ledger: Ledger) -> Wire {
        let left = ledger.peek(|view| view.sever_after);
        let wire = Wire { stream, left, ledger };
        wire.severed();
        wire
    }

    fn severed(&self) -> bool {
        let severed = self.left == Some(0);
        if severed {
            // Who waits for the other direction must learn of it too. It may be cut already.
            let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Both);
            self.ledger.with(|view| view.severed += 1);
        }
        severed
    }

    fn count(&mut self, bytes: usize) {
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        self.severed();
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.severed() {
            return Poll::Ready(Ok(()));
        }
        let mut part = buffer.take(self.left.unwrap_or(usize::MAX).min(buffer.remaining()));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().to_vec();
        buffer.put_slice(&read);
        self.count(read.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.severed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let part = &bytes[..self.left.unwrap_or(usize::MAX).min(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, part))?;
        self.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Wire {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

/// Connects as the kubelet does: at once or not at all, with `localhost` as authority.
pub(super) async fn dial(socket: &Path, ledger: &Ledger) -> Result<Channel, String> {
    let endpoint = Endpoint::from_static("http://localhost")
        .connect_timeout(DIAL)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let (socket, ledger) = (socket.to_owned(), ledger.clone());
    let connector = tower::service_fn(move |_| connect(socket.clone(), ledger.clone()));
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|error| format!("failed to dial device plugin: {error:?}"))
}

async fn connect(socket: PathBuf, ledger: Ledger) -> io::Result<TokioIo<Wire>> {
    Ok(TokioIo::new(Wire::new(UnixStream::connect(socket).await?, ledger)))
}
