//! The kubelet's own file, or folder of files: whether it starts with it, and whether it asks us about the images
//! that we answer for.

mod fit;
mod programs;

use crate::cli::KubeletFile;
use crate::command::kubelet_files;
use crate::config::Config;
use crate::report::Finding;

/// Looks at what `kubelet` names; also at what it has to do with `config`, if that could be read.
pub(super) fn check(kubelet: &KubeletFile, config: Option<&Config>) -> Vec<Finding> {
    let (entries, mut findings) = kubelet_files::load(kubelet);
    if let Some(bin_dir) = &kubelet.bin_dir {
        findings.extend(programs::check(bin_dir, &entries));
    }
    if let Some(config) = config {
        findings.extend(fit::check(config, &entries, kubelet));
    }
    findings
}
