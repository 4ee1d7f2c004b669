//! Accepted connections, which can be cut whatever the one who answers on them is waiting for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

use super::authority::Rewriter;

/// One accepted connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    /// The same socket again, by which [`Lines`] reaches it for as long as this value lives.
    _twin: Arc<OwnedFd>,
    rewriter: Option<Rewriter>,
    /// What was read and may go on.
    ready: Vec<u8>,
}

/// The accepted connections that are open.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    open: Arc<Mutex<Vec<Weak<OwnedFd>>>>,
    rewrite: bool,
}

impl Lines {
    /// None yet; `rewrite` says whether authorities that are none are to be replaced.
    pub(super) fn new(rewrite: bool) -> Lines {
        Lines { open: Arc::default(), rewrite }
    }

    /// Keeps `stream` within reach.
    pub(super) fn add(&self, stream: UnixStream) -> io::Result<Line> {
        let twin = Arc::new(stream.as_fd().try_clone_to_owned()?);
        let mut lines = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&twin));
        let rewriter = self.rewrite.then(Rewriter::new);
        Ok(Line { stream, _twin: twin, rewriter, ready: Vec::new() })
    }

    /// Cuts all connections, and returns how many there were.
    pub(super) fn cut(&self) -> usize {
        let lines = self.open.lock().unwrap_or_else(PoisonError::into_inner);
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
        while self.ready.is_empty() {
            if self.rewriter.as_ref().is_none_or(Rewriter::is_through) {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            ready!(self.poll_rewrite(context))?;
        }
        let part = self.ready.len().min(buffer.remaining());
        buffer.put_slice(self.ready.drain(..part).as_slice());
        Poll::Ready(Ok(()))
    }
}

impl Line {
    /// Reads on, through the rewriter.
    fn poll_rewrite(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 4096];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
        if let Some(rewriter) = &mut self.rewriter {
            if chunk.filled().is_empty() {
                rewriter.finish(&mut self.ready);
            }
            rewriter.push(chunk.filled(), &mut self.ready);
        }
        Poll::Ready(Ok(()))
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
        let lines = Lines::new(false);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (closed, _kept) = UnixStream::pair().unwrap();
        drop(lines.add(closed).unwrap());
        let mut line = lines.add(ours).unwrap();
        assert_eq!(lines.cut(), 1);
        assert_eq!(line.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    }
}
