//! The README's examples work as they are printed.

use std::process::Command;

use tripod_tests::programs;

/// The YAML example that begins with the comment `# name`.
fn example(name: &str) -> String {
    let text = std::fs::read_to_string(programs::workspace().join("README.md")).expect("README.md");
    let begins = format!("```yaml\n# {name}\n");
    let (_, rest) = text.split_once(&begins).unwrap_or_else(|| panic!("README.md has no example of {name}"));
    rest.split("```").next().expect("an end").to_owned()
}

fn passes(program: &str, name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    std::fs::write(&file, example(name)).expect("a file");
    let output = Command::new(programs::program(program))
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .expect(program);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // That the password file is missing is told, and is all that is wrong with the example here.
    let only_the_password_file = said.contains("/etc/tripod/registry-auth.json") && !said.contains("unknown");
    assert!(output.status.success() || only_the_password_file, "{name}: {said}");
}

#[test]
fn the_device_plugins_example_passes_its_own_check() {
    passes("tripod-device-plugin", "device-plugin.yaml");
}

#[test]
fn the_credential_providers_example_passes_its_own_check() {
    passes("tripod-credential-provider", "credential-provider.yaml");
}

#[test]
fn the_test_command_and_the_demo_are_the_ones_that_ci_runs() {
    let ci = std::fs::read_to_string(programs::workspace().join(".ci/run")).expect(".ci/run");
    let readme = std::fs::read_to_string(programs::workspace().join("README.md")).expect("README.md");
    for command in ["cargo demo", "cargo test --workspace"] {
        assert!(readme.contains(command) && ci.contains(command), "{command}");
    }
}
