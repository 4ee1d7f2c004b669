//! Whether the kubelet has the devices that the device plugin of this node offers: the plugin itself knows.

use std::net::SocketAddr;
use std::time::Duration;

use tripod_cni::finding::Finding;

use crate::metrics::fetch;

const CHECK: &str = "device-plugin";
const ANSWER: Duration = Duration::from_secs(3);
const LONGEST: usize = 1 << 20;
/// Most lines that are told.
const MOST: usize = 20;

/// What it says at `address`.
pub(super) async fn findings(address: SocketAddr) -> Finding {
    let asked = tokio::time::timeout(ANSWER, fetch(address, "/readyz", LONGEST)).await;
    match asked.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok((code, text)) => judged(address, code, &String::from_utf8_lossy(&text)),
        Err(error) => {
            let text = format!("does not answer: {error}; it need not, where no device plugin is to run");
            Finding::ok(CHECK, address, text)
                .fix("where one is: kubectl -n tripod-system logs ds/tripod -c device-plugin")
        }
    }
}

fn judged(address: SocketAddr, code: u16, text: &str) -> Finding {
    let is_plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let lines: Vec<String> =
        text.lines().take(MOST).map(|line| line.trim().chars().map(is_plain).collect()).collect();
    let told = lines.join("; ");
    if code == 200 {
        return Finding::ok(CHECK, address, told);
    }
    let fix = "see kubectl -n tripod-system logs ds/tripod -c device-plugin; whether paths.kubeletDir of the chart is the \
        kubelet's --root-dir; and whether the kubelet runs";
    Finding::warn(CHECK, address, told).fix(fix)
}

#[cfg(test)]
mod tests {
    use tripod_cni::finding::Severity;

    use super::*;

    #[test]
    fn what_the_plugin_says_is_told_in_one_line() {
        let address = "127.0.0.1:9676".parse().unwrap();
        let good = judged(address, 200, "ok\nexample.com/serial: 2 devices\n");
        assert_eq!((good.severity, &good.evidence[..]), (Severity::Ok, "ok; example.com/serial: 2 devices"));
        let bad = judged(address, 503, "the kubelet does not have 1 as offered\n  last error: \u{1b}[2J\n");
        assert!(bad.severity == Severity::Warn && !bad.evidence.contains('\u{1b}'), "{bad}");
    }
}
