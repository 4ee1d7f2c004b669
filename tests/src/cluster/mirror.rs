//! A host outside of the cluster that answers each connection with the address it came from, which
//! tells whether a pod's traffic was masqueraded.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::addresses::{Families, OUTSIDE};
use super::kubectl::Kubectl;
use super::machine::Machine;

const PORT: u16 = 7007;
const PAUSE: Duration = Duration::from_millis(20);

/// Answers until it is dropped. Its sockets keep the machine's network alive, so drop it first.
#[derive(Debug)]
pub struct Mirror {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Mirror {
    /// Listens on `machine` at the outside addresses of these families.
    pub fn start(machine: &Machine, families: Families) -> anyhow::Result<Self> {
        let mut mirror = Self { stop: Arc::default(), threads: Vec::new() };
        for address in families.addresses(OUTSIDE) {
            // A socket belongs to the network it was made in, whoever uses it.
            let place = SocketAddr::new(address, PORT);
            let listener = machine.within_network(|| Ok(TcpListener::bind(place)?))?;
            listener.set_nonblocking(true)?;
            let stop = Arc::clone(&mirror.stop);
            mirror.threads.push(std::thread::spawn(move || answer_all(&listener, &stop)));
        }
        Ok(mirror)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn answer_all(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            // Whoever does not wait for the answer does not get one.
            Ok((mut peer, from)) => drop(writeln!(peer, "{}", from.ip())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => eprintln!("mirror: {error}"),
        }
    }
}

/// As whom the outside sees `pod`, over each of these families.
pub fn seen_from_outside(
    kubectl: &Kubectl<'_>,
    pod: &str,
    families: Families,
) -> anyhow::Result<Vec<String>> {
    let ask = |address: String| {
        let answer = kubectl.exec(pod, &["nc", "-w", "5", &address, &PORT.to_string()])?;
        anyhow::Ok(answer.trim().to_owned())
    };
    families.addresses(OUTSIDE).into_iter().map(|address| ask(address.to_string())).collect()
}
