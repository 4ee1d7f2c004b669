//! The crates that the image's programs are made of, by `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde::Deserialize;

/// Why the crates are not known.
#[derive(Debug, thiserror::Error)]
pub enum CratesError {
    /// Cargo itself cannot be run.
    #[error("cannot run {cargo:?}")]
    Run {
        /// The program tried.
        cargo: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Cargo said why on its own output.
    #[error("cargo metadata failed: {0}")]
    Failed(ExitStatus),
    /// What it said is of another form.
    #[error("cannot read what cargo metadata says")]
    Form(#[from] serde_json::Error),
}

/// A crate whose code is in a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) licence: Option<String>,
    /// Folder of its source.
    pub(crate) folder: PathBuf,
    /// Whether it is of this workspace.
    pub(crate) is_own: bool,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Dependant>,
}

#[derive(Debug, Deserialize)]
struct Dependant {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// None where it is needed by the program, and not by its build or its tests.
    kind: Option<String>,
}

/// The crates that `programs` are made of, in order of name: those whose features nothing of the image asks for
/// are told too.
pub(crate) fn shipped(
    workspace: &Path,
    target: &str,
    programs: &[&str],
) -> Result<BTreeSet<Crate>, CratesError> {
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(&cargo);
    command.current_dir(workspace).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        target,
    ]);
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(|source| CratesError::Run { cargo, source })?;
    if !output.status.success() {
        return Err(CratesError::Failed(output.status));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(walk(&metadata, programs))
}

fn walk(metadata: &Metadata, programs: &[&str]) -> BTreeSet<Crate> {
    let packages: BTreeMap<_, _> = metadata.packages.iter().map(|it| (it.id.as_str(), it)).collect();
    let nodes: BTreeMap<_, _> = metadata.resolve.nodes.iter().map(|it| (it.id.as_str(), it)).collect();
    let roots = packages.values().filter(|it| it.source.is_none() && programs.contains(&it.name.as_str()));
    let mut waiting: Vec<_> = roots.map(|it| it.id.as_str()).collect();
    let mut seen: BTreeSet<_> = waiting.iter().copied().collect();
    while let Some(id) = waiting.pop() {
        let needed = nodes.get(id).into_iter().flat_map(|node| &node.deps).filter(|it| it.is_in_program());
        let linked =
            needed.filter(|it| packages.get(it.pkg.as_str()).is_some_and(|it| !it.runs_in_compiler()));
        waiting.extend(linked.map(|it| it.pkg.as_str()).filter(|id| seen.insert(id)));
    }
    seen.iter().filter_map(|id| packages.get(id)).map(|package| package.describe()).collect()
}

impl Dependency {
    fn is_in_program(&self) -> bool {
        self.dep_kinds.iter().any(|it| it.kind.is_none())
    }
}

impl Package {
    fn runs_in_compiler(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn describe(&self) -> Crate {
        let folder = self.manifest_path.parent().unwrap_or(Path::new("/")).to_owned();
        let (name, version, licence) = (self.name.clone(), self.version.clone(), self.license.clone());
        Crate { name, version, licence, folder, is_own: self.source.is_none() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn package(name: &str, kind: &str) -> Value {
        let source = if name == "ours" { Value::Null } else { json!("elsewhere") };
        json!({"id": format!("{name} 1.0.0"), "name": name, "version": "1.0.0", "license": "MIT", "source": source,
            "manifest_path": format!("/src/{name}/Cargo.toml"), "targets": [{"kind": [kind]}]})
    }

    #[test]
    fn what_is_linked_is_told_and_what_only_builds_or_tests_is_not() {
        let dependency =
            |name: &str, kind: Value| json!({"pkg": format!("{name} 1.0.0"), "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package("ours", "bin"), package("a", "lib"), package("b", "lib"), package("derive", "proc-macro"),
                package("builder", "lib"), package("tester", "lib"), package("parser", "lib")],
            "resolve": {"nodes": [
                {"id": "ours 1.0.0", "deps": [dependency("a", Value::Null), dependency("derive", Value::Null),
                    dependency("builder", json!("build")), dependency("tester", json!("dev"))]},
                {"id": "a 1.0.0", "deps": [dependency("b", Value::Null), dependency("ours", Value::Null)]},
                {"id": "derive 1.0.0", "deps": [dependency("parser", Value::Null)]},
            ]},
        });
        let found = walk(&serde_json::from_value(metadata).unwrap(), &["ours"]);
        let names: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.is_own)).collect();
        assert_eq!(names, [("a", false), ("b", false), ("ours", true)]);
    }
}
