//! Accepted connections, which can be cut whatever the one who answers on them is waiting for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

/// One accepted connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    /// The same socket again, by which [`Lines`] reaches it for as long as this value lives.
    _twin: Arc<OwnedFd>,
}

/// The accepted connections that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<Weak<OwnedFd>>>>);

impl Lines {
    /// Keeps `stream` within reach.
    pub(super) fn add(&self, stream: UnixStream) -> io::Result<Line> {
        let twin = Arc::new(stream.as_fd().try_clone_to_owned()?);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&twin));
        Ok(Line { stream, _twin: twin })
    }

    /// Cuts all connections, and returns how many there were.
    pub(super) fn cut(&self) -> usize {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = lines.iter().filter_map(Weak::upgrade);
        // One that fails is one that the peer has closed already.
        open.filter(|line| shutdown(line.as_raw_fd(), Shutdown::Both).is_ok()).count()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Line {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_cut_is_seen_on_both_ends_and_what_was_closed_is_forgotten() {
        let lines = Lines::default();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (closed, _kept) = UnixStream::pair().unwrap();
        drop(lines.add(closed).unwrap());
        let mut line = lines.add(ours).unwrap();
        assert_eq!(lines.cut(), 1);
        assert_eq!(line.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    }
}
