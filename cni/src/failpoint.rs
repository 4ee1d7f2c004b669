//! Places where a test can end the process: before each step that changes the kernel or the disk. The
//! modules that make such changes announce them here; only a program built with feature `failpoints`
//! listens.

/// Announces the step that comes next. In a program without the feature this is nothing.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature a step may be made to fail")]
pub(crate) const fn step(_name: &str) -> std::io::Result<()> {
    Ok(())
}

/// Announces a request to rtnetlink of this kind (`nlmsg_type`).
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature a step may be made to fail")]
pub(crate) const fn request(_kind: u16) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::{request, step};

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

    /// Announces a routing request, unless it is a question.
    pub(crate) fn request(kind: u16) -> io::Result<()> {
        change(kind).map_or(Ok(()), |name| step(&name))
    }

    /// What a request changes, by its name in `linux/rtnetlink.h`.
    fn change(kind: u16) -> Option<String> {
        // Kinds come in fours.
        let verb = match kind % 4 {
            0 => "NEW",
            1 => "DEL",
            2 => return None,
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
            _ => return Some(format!("RTM_{kind}")),
        };
        Some(format!("RTM_{verb}{object}"))
    }

    #[cfg(test)]
    mod tests {
        use super::change;

        #[test]
        fn changes_are_told_from_questions() {
            assert_eq!(change(16).unwrap(), "RTM_NEWLINK");
            assert_eq!(change(18), None);
            assert_eq!(change(25).unwrap(), "RTM_DELROUTE");
        }
    }
}
