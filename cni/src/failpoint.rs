//! Places where a test can end the process: before each step that changes the kernel or the disk. The
//! modules that make such changes announce them here; only a program built with feature `failpoints`
//! listens.

/// Announces the step that comes next. In a program without the feature this is nothing.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature a step may be made to fail")]
pub(crate) const fn step(_name: &str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::{Socket, step};

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
    use nix::errno::Errno;
    use nix::sys::signal::{Signal, raise};

    /// `kill`, `stop` or `fail`, a space, and a step by its number, or the first one of a name. Anything
    /// else only lists the steps.
    const VARIABLE: &str = "TRIPOD_FAILPOINT";

    static PASSED: AtomicUsize = AtomicUsize::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);

    /// Names the step on stderr and, where it is the one that was asked for, ends or stops the process
    /// or lets the step fail.
    pub(crate) fn step(name: &str) -> io::Result<()> {
        let Ok(wish) = std::env::var(VARIABLE) else { return Ok(()) };
        let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        writeln!(io::stderr(), "failpoint {number}: {name}")?;
        let Some((action, place)) = wish.split_once(' ') else { return Ok(()) };
        let meant = place == name || place == number.to_string();
        if !meant || DONE.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        match action {
            "kill" => raise(Signal::SIGKILL)?,
            "stop" => raise(Signal::SIGSTOP)?,
            _ => return Err(Errno::ENOSPC.into()),
        }
        Ok(())
    }

    /// A routing socket that announces each datagram with a change in it. Requests wait in a queue, so
    /// where they are made is not when they reach the kernel.
    pub(crate) struct Socket(TokioSocket);

    impl AsyncSocket for Socket {
        fn socket_ref(&self) -> &netlink_sys::Socket {
            self.0.socket_ref()
        }

        fn socket_mut(&mut self) -> &mut netlink_sys::Socket {
            self.0.socket_mut()
        }

        fn new(protocol: isize) -> io::Result<Self> {
            TokioSocket::new(protocol).map(Self)
        }

        fn poll_send(&self, context: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<usize>> {
            self.0.poll_send(context, datagram)
        }

        fn poll_send_to(
            &self,
            context: &mut Context<'_>,
            datagram: &[u8],
            to: &SocketAddr,
        ) -> Poll<io::Result<usize>> {
            // Not by readiness, for which one datagram may be polled twice: the kernel takes it at once.
            change_in(datagram).map_or(Ok(()), |name| step(&name))?;
            match self.0.socket_ref().send_to(datagram, to, 0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.poll_send_to(context, datagram, to)
                }
                sent => Poll::Ready(sent),
            }
        }

        fn poll_recv<B: bytes::BufMut>(
            &self,
            context: &mut Context<'_>,
            buffer: &mut B,
        ) -> Poll<io::Result<()>> {
            self.0.poll_recv(context, buffer)
        }

        fn poll_recv_from<B: bytes::BufMut>(
            &self,
            context: &mut Context<'_>,
            buffer: &mut B,
        ) -> Poll<io::Result<SocketAddr>> {
            self.0.poll_recv_from(context, buffer)
        }

        fn poll_recv_from_full(&self, context: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
            self.0.poll_recv_from_full(context)
        }
    }

    /// The first message of `datagram` that is no question, by its name in `linux/rtnetlink.h`.
    fn change_in(mut datagram: &[u8]) -> Option<String> {
        const QUESTION: u16 = 2;
        while let Some((header, _)) = datagram.split_first_chunk::<16>() {
            let [l0, l1, l2, l3, k0, k1, ..] = *header;
            let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
            let kind = u16::from_ne_bytes([k0, k1]);
            // Kinds come in fours: NEW, DEL, GET, SET.
            if kind % 4 != QUESTION {
                return Some(name_of(kind));
            }
            datagram = datagram.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
        }
        None
    }

    fn name_of(kind: u16) -> String {
        let verb = match kind % 4 {
            0 => "NEW",
            1 => "DEL",
            _ => "SET",
        };
        let object = match kind / 4 {
            4 => "LINK",
            5 => "ADDR",
            6 => "ROUTE",
            7 => "NEIGH",
            9 => "QDISC",
            10 => "TCLASS",
            11 => "TFILTER",
            _ => return format!("RTM_{kind}"),
        };
        format!("RTM_{verb}{object}")
    }

    #[cfg(test)]
    mod tests {
        use super::change_in;

        fn message(kind: u16) -> Vec<u8> {
            [&16u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat()
        }

        #[test]
        fn changes_are_told_from_questions() {
            assert_eq!(change_in(&message(16)).unwrap(), "RTM_NEWLINK");
            assert_eq!(change_in(&message(18)), None);
            assert_eq!(change_in(&[message(22), message(25)].concat()).unwrap(), "RTM_DELROUTE");
        }
    }
}
