//! Debian's helper for Docker's client, before the same far end.

use std::process::Command;
use std::time::Instant;

use tripod_tests::cluster::debian;
use tripod_tests::programs;

use crate::latency::Latency;
use crate::options::Options;
use crate::report::Report;
use crate::site::{REGION, Site};

const PACKAGE: &str = "amazon-ecr-credential-helper";
const IMAGES: usize = 20;

/// Twenty images at once on a node that has just started, by it and by us, in turns.
pub(crate) fn beside(site: &mut Site, report: &mut Report, options: Options) {
    let folder = programs::target_dir().join("peers");
    debian::unpack(&folder, &[PACKAGE]).expect("Debian's package");
    let program = folder.join("usr/bin/docker-credential-ecr-login");
    let (mut theirs, mut ours, mut asked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.rounds {
        site.forget();
        ours.push(site.pull_at_once(IMAGES));
        site.forget();
        // It keeps what it was told in the home of whoever runs it.
        drop(std::fs::remove_dir_all(site.internet.path("home")));
        let commands = (0..IMAGES).map(|number| {
            let mut command = Command::new(&program);
            command.arg("get").env_clear().env("HOME", site.internet.path("home"));
            command.env("SSL_CERT_FILE", site.internet.path("ca.pem")).env("AWS_REGION", REGION);
            command.env("AWS_ACCESS_KEY_ID", &site.key.id).env("AWS_SECRET_ACCESS_KEY", &site.key.secret);
            (command, format!("12345678901{}.dkr.ecr.{REGION}.amazonaws.com", number % 10))
        });
        let begin = Instant::now();
        let answers = site.internet.run_at_once(commands.collect());
        theirs.push(begin.elapsed());
        for answer in &answers {
            let log = || std::fs::read_to_string(site.internet.path("home/.ecr/log/ecr-login.log"));
            assert!(answer.status.success(), "{answer:?} {:?}", log());
        }
        asked = site.requests();
    }
    let (theirs, ours) = (Latency::new(theirs), Latency::new(ours));
    report.times("20 images at once, cold, Debian's helper", &theirs);
    report.plain("requests of Debian's helper for them", asked as f64);
    report.plain("20 images at once, times Debian's helper", ours.p50() / theirs.p50());
}
