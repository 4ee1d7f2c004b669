//! `cargo image`: builds the release programs and writes Tripod's image without a container engine.
//!
//! It leaves the image's root folder in `target/image/bin`, for engines and for people, and the image
//! itself in `target/image/tripod.tar`, for `ctr images import` and `docker load`. With the programs go what
//! they consist of (`/sbom.spdx.json`) and the licences of that (`/LICENCES`).

mod archive;
mod crates;
mod elf;
mod libraries;
mod licences;
mod platform;
mod programs;
mod root;
mod sbom;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use root::{Content, Root};

/// The image's name until a release gives it another.
const NAME: &str = "tripod:dev";

/// Bounds that keep a pull short and a node's disk free, in bytes.
const MOST_COMPRESSED: u64 = 12_000_000;
const MOST_UNPACKED: u64 = 32_000_000;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program did not build.
    #[error(transparent)]
    Build(#[from] programs::BuildError),
    /// A program or library is not what it must be.
    #[error(transparent)]
    Elf(#[from] elf::ElfError),
    /// Nobody knows what the programs are made of.
    #[error(transparent)]
    Crates(#[from] crates::CratesError),
    /// A library is not on this machine.
    #[error(transparent)]
    Library(#[from] libraries::MissingLibrary),
    /// A file could not be written or read.
    #[error("cannot {act} {path:?}")]
    File {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The image is larger than it may be.
    #[error("the image has {bytes} bytes {form}, more than the {limit} it may have")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// `compressed` or `unpacked`.
        form: &'static str,
        /// The bound.
        limit: u64,
    },
}

/// Builds the image below `target` out of the checkout `workspace` and tells the sizes on `out`.
pub fn run(workspace: &Path, target: &Path, mut out: impl Write) -> Result<(), Error> {
    let mut root = Root::default();
    for program in programs::build_static(workspace, target)? {
        elf::read(&program)?.must_be_static(&program)?;
        root.add(program.file_name().map(PathBuf::from).unwrap_or_default(), &program, 0o755)?;
    }
    add_dynamic(&mut root, &programs::build_dynamic(workspace, target)?)?;
    describe(&mut root, workspace)?;
    let image = target.join("image");
    root.write(&image.join("bin"))?;
    let layer = archive::layer(&root).map_err(failed("pack", &image))?;
    let archive = archive::archive(NAME, &layer).map_err(failed("pack", &image))?;
    let tar = image.join("tripod.tar");
    fs::write(&tar, archive).map_err(failed("write", &tar))?;
    let compressed = compressed_size(&layer).map_err(failed("compress", &tar))?;
    report(&mut out, &root, compressed, &tar).map_err(failed("tell the size of", &tar))?;
    check("unpacked", root.size(), MOST_UNPACKED)?;
    check("compressed", compressed, MOST_COMPRESSED)
}

/// The device plugin loads the vendors' libraries while it runs, which a static program cannot do, so
/// its loader and libraries come with it.
fn add_dynamic(root: &mut Root, program: &Path) -> Result<(), Error> {
    let header = elf::read(program)?;
    header.must_be_dynamic(program)?;
    root.add(program.file_name().map(PathBuf::from).unwrap_or_default(), program, 0o755)?;
    for library in libraries::closure(program, &header)? {
        root.add(library.clone(), &library, 0o755)?;
    }
    Ok(())
}

/// Adds what the image consists of, and the licences of that.
fn describe(root: &mut Root, workspace: &Path) -> Result<(), Error> {
    let crates = crates::shipped(workspace, &programs::target(), &programs::ALL)?;
    let is_library = |path: &&Path| path.to_string_lossy().contains(".so");
    let libraries = root.files().map(|(path, _)| path).filter(is_library);
    let libraries: Vec<_> =
        libraries.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    let sbom = sbom::document(NAME, &archive::digest_of(root), &crates, &libraries);
    root.insert("sbom.spdx.json".into(), Content { bytes: format!("{sbom:#}\n").into_bytes(), mode: 0o644 });
    root.insert(
        "LICENCES".into(),
        Content { bytes: licences::text(&platform::parts(), &crates)?.into_bytes(), mode: 0o644 },
    );
    Ok(())
}

fn compressed_size(layer: &[u8]) -> io::Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(layer)?;
    Ok(encoder.finish()?.len().try_into().unwrap_or(u64::MAX))
}

fn report(out: &mut impl Write, root: &Root, compressed: u64, tar: &Path) -> io::Result<()> {
    for (path, size) in root.sizes() {
        writeln!(out, "{size:>10}  /{}", path.display())?;
    }
    writeln!(out, "{:>10}  unpacked (at most {MOST_UNPACKED})", root.size())?;
    writeln!(out, "{compressed:>10}  compressed by gzip (at most {MOST_COMPRESSED})")?;
    let archive = File::open(tar)?.metadata()?.len();
    writeln!(out, "{archive:>10}  {} ({NAME})", tar.display())
}

fn check(form: &'static str, bytes: u64, limit: u64) -> Result<(), Error> {
    if bytes > limit { Err(Error::TooLarge { bytes, form, limit }) } else { Ok(()) }
}

fn failed<'a>(act: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::File { act, path: path.to_owned(), source }
}
