//! The board as text.

use std::fmt::{Display, Write};
use std::time::UNIX_EPOCH;

use super::histogram::Histogram;
use crate::board::{Board, Comparison, Row};
use crate::config::resource_name::ResourceName;

const PREFIX: &str = "tripod_device_plugin";

/// Everything `board` shows.
pub(super) fn render(board: &Board) -> String {
    let mut page = Page::default();
    page.family("build_info", "gauge", "The running build.");
    page.sample("build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
    let rows: Vec<_> = board.rows().into_iter().collect();
    registrations(&mut page, &rows);
    lists(&mut page, &rows);
    calls(&mut page, &rows);
    health_changes(&mut page, &rows);
    resets(&mut page, &rows);
    page.family("scan_seconds", "histogram", "Looks at the node.");
    page.histogram("scan_seconds", &[], &board.scans());
    page.0
}

type Rows = [(ResourceName, Row)];

fn registrations(page: &mut Page, rows: &Rows) {
    page.family("registrations_total", "counter", "Successful registrations.");
    for (resource, row) in rows {
        page.sample("registrations_total", &[("resource", resource)], row.registrations);
    }
    page.family("registration_state", "gauge", "1 for the state that a registration is in.");
    for (resource, row) in rows {
        page.sample("registration_state", &[("resource", resource), ("state", &row.state)], 1);
    }
    page.family("streams", "gauge", "Open ListAndWatch streams.");
    for (resource, row) in rows {
        page.sample("streams", &[("resource", resource)], row.streams);
    }
    page.family("last_error_timestamp_seconds", "gauge", "When something went wrong last.");
    for (resource, row) in rows {
        let since_epoch = row.last_error.as_ref().and_then(|(_, at)| at.duration_since(UNIX_EPOCH).ok());
        if let Some(at) = since_epoch {
            page.sample("last_error_timestamp_seconds", &[("resource", resource)], at.as_secs_f64());
        }
    }
}

fn lists(page: &mut Page, rows: &Rows) {
    page.family("devices", "gauge", "List entries by health.");
    for (resource, row) in rows {
        let snapshot = row.snapshots.borrow().clone();
        let healthy = snapshot.healthy().count();
        let unhealthy = snapshot.listed() - healthy;
        for (state, count) in [("healthy", healthy), ("unhealthy", unhealthy)] {
            page.sample("devices", &[("resource", resource), ("state", &state)], count);
        }
    }
    page.family("snapshot_bytes", "gauge", "Size of the list as the kubelet gets it.");
    for (resource, row) in rows {
        let bytes = row.snapshots.borrow().list().len();
        page.sample("snapshot_bytes", &[("resource", resource)], bytes);
    }
    page.family("snapshot_age_seconds", "gauge", "Time since the list changed.");
    for (resource, row) in rows {
        page.sample("snapshot_age_seconds", &[("resource", resource)], row.since.elapsed().as_secs_f64());
    }
    page.family("kubelet_devices", "gauge", "The kubelet's healthy devices beside ours.");
    for (resource, row) in rows {
        let Some(Comparison { common, missing, surplus }) = row.kubelet else { continue };
        for (state, count) in [("common", common), ("missing", missing), ("surplus", surplus)] {
            page.sample("kubelet_devices", &[("resource", resource), ("state", &state)], count);
        }
    }
}

fn calls(page: &mut Page, rows: &Rows) {
    page.family("allocate_seconds", "histogram", "Allocate calls.");
    for (resource, row) in rows {
        page.histogram("allocate_seconds", &[("resource", resource)], &row.allocate);
    }
    page.family("preferred_seconds", "histogram", "GetPreferredAllocation calls.");
    for (resource, row) in rows {
        page.histogram("preferred_seconds", &[("resource", resource)], &row.preferred);
    }
}

fn health_changes(page: &mut Page, rows: &Rows) {
    page.family(
        "health_changes_total",
        "counter",
        "Devices that failed or recovered; the log has the causes.",
    );
    for (resource, row) in rows {
        let (failed, recovered) = row.health_changes;
        for (state, count) in [("unhealthy", failed), ("healthy", recovered)] {
            page.sample("health_changes_total", &[("resource", resource), ("state", &state)], count);
        }
    }
}

fn resets(page: &mut Page, rows: &Rows) {
    page.family("resets_total", "counter", "Runs of the reset hook.");
    for (resource, row) in rows.iter().filter(|(_, row)| row.snapshots.borrow().reset().is_some()) {
        let (well, failed) = row.resets;
        for (result, count) in [("success", well), ("failure", failed)] {
            page.sample("resets_total", &[("resource", resource), ("result", &result)], count);
        }
    }
}

type Label<'a> = (&'a str, &'a dyn Display);

/// Text that grows. Writing to a string cannot fail, and no label needs escaping: resource names have
/// neither quotes nor backslashes.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {PREFIX}_{name} {help}"));
        self.line(format_args!("# TYPE {PREFIX}_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{PREFIX}_{name}{labels} {value}"));
    }

    fn histogram(&mut self, name: &str, labels: &[Label<'_>], histogram: &Histogram) {
        let bounded = |bound: &dyn Display, page: &mut Page, count: u64| {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
            page.sample(&format!("{name}_bucket"), &labels, count);
        };
        for (bound, count) in histogram.buckets() {
            bounded(&bound, self, count);
        }
        bounded(&"+Inf", self, histogram.count());
        self.sample(&format!("{name}_sum"), labels, histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), labels, histogram.count());
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if writeln!(self.0, "{line}").is_err() {
            tracing::error!("a metric does not format");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;
    use crate::config::sharing::Sharing;
    use crate::inventory::Snapshot;
    use crate::inventory::tests::devices;

    #[test]
    fn each_family_is_named_once_and_each_sample_belongs_to_one() {
        let board = Board::default();
        let resource = ResourceName::parse("example.com/x").unwrap();
        let snapshot = Snapshot::new(resource, devices(&["/dev/a"]), Sharing::EXCLUSIVE);
        let (_snapshots, receiver) = watch::channel(Arc::new(snapshot));
        let tally = board.begin(receiver);
        tally.allocated(Duration::from_micros(40), Some("no".to_owned()));
        tally.note(|row| row.kubelet = Some(Comparison { common: 1, missing: 0, surplus: 0 }));
        let text = render(&board);
        for line in [
            "tripod_device_plugin_devices{resource=\"example.com/x\",state=\"healthy\"} 1",
            "tripod_device_plugin_registration_state{resource=\"example.com/x\",state=\"idle\"} 1",
            "tripod_device_plugin_kubelet_devices{resource=\"example.com/x\",state=\"common\"} 1",
            "tripod_device_plugin_allocate_seconds_bucket{resource=\"example.com/x\",le=\"0.000025\"} 0",
            "tripod_device_plugin_allocate_seconds_bucket{resource=\"example.com/x\",le=\"0.00005\"} 1",
            "tripod_device_plugin_allocate_seconds_bucket{resource=\"example.com/x\",le=\"+Inf\"} 1",
            "tripod_device_plugin_allocate_seconds_sum{resource=\"example.com/x\"} 0.00004",
            "tripod_device_plugin_scan_seconds_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert_eq!(families.len(), 14, "{families:?}");
    }
}
