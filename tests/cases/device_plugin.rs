//! The real device plugin against the kubelet stand-in, with device nodes in a made host tree.

use std::time::{Duration, Instant};

use tripod_proto::deviceplugin::v1beta1::Device;
use tripod_tests::kubelet::{Happening, Kubelet, View};

mod amd;
mod broken;
mod cdi;
mod configuring;
mod device_manager;
mod devices;
mod dfl;
mod fpga_manager;
mod intel_gpu;
mod labelling;
mod mps;
mod node;
mod nvidia;
mod pci;
mod plugin_watcher;
mod podresources;
mod preferring;
mod registering;
mod reset;
mod sample;
mod severed;
mod streams;
mod usb;
mod xrt;

use node::{Node, http_get, sockets};

const SERIAL: &str = "example.com/serial";
const CONFIG: &str =
    "version: v1\nresources:\n  - name: example.com/serial\n    match: {paths: [/dev/ttyT*]}\n";

fn ids(list: &[Device]) -> Vec<&str> {
    list.iter().map(|device| device.id.as_str()).collect()
}

fn registrations(view: &View) -> usize {
    view.count(SERIAL, |what| *what == Happening::Registered)
}

fn lists(view: &View) -> Vec<&[Device]> {
    let mut lists = Vec::new();
    for event in &view.events {
        if let Happening::Listed(list) = &event.what {
            lists.push(list.as_slice());
        }
    }
    lists
}

/// Kubelets up to 1.35 drop the new registration when the stream of the old one ends after it.
fn never_registered_twice_at_a_time(view: &View) {
    let mut open = 0;
    for event in &view.events {
        match event.what {
            Happening::Registered => open += 1,
            Happening::StreamEnded => open -= 1,
            _ => {}
        }
        assert!(open <= 1, "registered again before the old stream ended: {:#?}", view.events);
    }
}

fn registered_after(kubelet: &Kubelet, listening: Instant) -> Duration {
    let registered = kubelet.look(|view| {
        view.events.iter().rfind(|event| event.what == Happening::Registered).map(|event| event.at)
    });
    registered.unwrap().duration_since(listening)
}
