//! What the guest finds when it wakes: an initial file system with the modules that lead to this
//! machine's files, and what to do there.

use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;

use super::archive::Archive;
use super::modules::Modules;
use super::packages::Packages;
use super::shell::quote;
use crate::programs;

/// Without these the machine's files cannot be reached. All others lie among them.
const FIRST_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// First process of the guest.
const INIT: &str = include_str!("init.sh");
/// What it does once it has the machine's files.
const RING: &str = include_str!("ring.sh");
/// Not the caller's: programs that only wrap others take long in the guest.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The test program that the guest is to run. All paths are those of this machine, and absolute.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    /// Cargo's target folder.
    pub(super) target: &'a Path,
}

/// The initial file system.
pub(super) fn initramfs(packages: &Packages, errand: &Errand) -> anyhow::Result<Vec<u8>> {
    let folder = packages.modules();
    let (dependencies, builtin) =
        (read(&folder.join("modules.dep"))?, read(&folder.join("modules.builtin"))?);
    let order = Modules::read(&dependencies, &builtin).order(&FIRST_MODULES)?;
    let mut archive = Archive::default();
    for path in ["bin", "dev", "proc", "sys", "host", "layer", "root", "modules"] {
        archive.folder(path);
    }
    let busybox = packages.busybox();
    archive.file("bin/busybox", &fs::read(&busybox).with_context(|| busybox.display().to_string())?);
    archive.file("init", INIT.as_bytes());
    archive.file("ring.sh", (settings(packages, errand)? + RING).as_bytes());
    // Loaded in the order of their names.
    for (number, file) in order.iter().enumerate() {
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).context("a module's name")?;
        archive.file(&format!("modules/{number:02}-{name}"), &fs::read(folder.join(file))?);
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The ring's environment and arguments, as a shell reads them.
fn settings(packages: &Packages, errand: &Errand) -> anyhow::Result<String> {
    let text = |path: &Path| path.to_str().map(quote).with_context(|| format!("{path:?} is not Unicode"));
    let mut script = String::new();
    let mut export = |name: &str, value: String| writeln!(script, "export {name}={value}");
    let tools = packages.tools();
    let tools = tools.to_str().with_context(|| format!("{tools:?} is not Unicode"))?;
    export("PATH", quote(&format!("{SEARCH_PATH}:{tools}")))?;
    export("CI", quote("true"))?;
    export(programs::PREBUILT, quote("true"))?;
    export("CARGO_TARGET_DIR", text(errand.target)?)?;
    export("BUSYBOX", text(&packages.busybox())?)?;
    export("MODULES", text(&packages.modules())?)?;
    // Where cargo runs tests.
    writeln!(script, "cd {}", text(&programs::workspace().join("tests"))?)?;
    let words = errand.arguments.iter().fold(text(errand.program)?, |words, word| words + " " + &quote(word));
    // The guest cannot know where its console ends.
    let color = if std::io::stdout().is_terminal() { "always" } else { "never" };
    writeln!(script, "set -- {words} --color={color}")?;
    Ok(script)
}
