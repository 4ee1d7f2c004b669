//! `tripod-node install`, once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use inotify::EventMask;

use super::{Host, PLUGINS, Recorder, mode, names};

#[test]
fn install_makes_programs_links_and_configuration() {
    let host = Host::new();
    host.install_well();
    assert_eq!(names(&host.path("opt/cni/bin")), PLUGINS);
    assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 1");
    assert_eq!(mode(&host.path("opt/cni/bin/tripod-cni")), 0o755);
    for link in ["loopback", "tripod-ipam"] {
        let target = fs::read_link(host.path("opt/cni/bin").join(link)).unwrap();
        assert_eq!(target.to_str(), Some("tripod-cni"), "{link}");
    }
    assert_eq!(names(&host.path("opt/credential")), ["tripod-credential-provider"]);
    assert_eq!(names(&host.path("etc/tripod")), ["node.yaml"]);
    assert_eq!(host.read("etc/tripod/node.yaml"), "version: v1\n");
    assert_eq!(mode(&host.path("etc/tripod/node.yaml")), 0o600);
}

#[test]
fn install_needs_no_capability() {
    if !tripod_tests::namespace::privileged() {
        return;
    }
    let host = Host::new();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
    command.arg(tripod_tests::programs::program("tripod-node"));
    host.add_arguments(&mut command);
    assert!(command.status().unwrap().success());
    assert_eq!(names(&host.path("opt/cni/bin")), PLUGINS);
}

#[test]
fn install_replaces_by_rename_from_a_name_that_no_runtime_reads() {
    let host = Host::new();
    host.install_well();
    host.image("tripod-cni", "plugin 2");
    let mut recorder = Recorder::watch(&host.path("opt/cni/bin"));
    host.install_well();
    assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 2");
    let events = recorder.events();
    let of_plugin: Vec<_> =
        events.iter().filter(|(_, name)| name == "tripod-cni").map(|(mask, _)| *mask).collect();
    assert_eq!(of_plugin, [EventMask::MOVED_TO], "{events:?}");
    for (_, name) in events.iter().filter(|(_, name)| name != "tripod-cni") {
        assert!(name.starts_with(".tripod.tripod-cni."), "{name}");
        assert!(![".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end)), "{name}");
    }
    // The mode is there before the name: of all changes of attributes, none is after the rename.
    let moved = events.iter().position(|(mask, _)| *mask == EventMask::MOVED_TO).unwrap();
    assert!(events[..moved].iter().any(|(mask, _)| *mask == EventMask::ATTRIB), "{events:?}");
    assert!(!events[moved..].iter().any(|(mask, _)| *mask == EventMask::ATTRIB), "{events:?}");
}

#[test]
fn install_leaves_equal_files_untouched() {
    let host = Host::new();
    host.install_well();
    let paths =
        ["opt/cni/bin/tripod-cni", "opt/cni/bin/tripod-ipam", "opt/cni/bin/loopback", "etc/tripod/node.yaml"];
    let stamps = || {
        paths.map(|path| {
            let metadata = fs::symlink_metadata(host.path(path)).unwrap();
            (metadata.ino(), metadata.mtime_nsec(), metadata.ctime_nsec())
        })
    };
    let before = stamps();
    let mut recorder = Recorder::watch(&host.path("opt/cni/bin"));
    host.install_well();
    assert_eq!(stamps(), before);
    assert_eq!(recorder.events(), []);
}

#[test]
fn install_repairs_a_mode_and_replaces_a_link_by_a_file() {
    let host = Host::new();
    host.install_well();
    let plugin = host.path("opt/cni/bin/tripod-cni");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o4755)).unwrap();
    let provider = host.path("opt/credential/tripod-credential-provider");
    fs::remove_file(&provider).unwrap();
    fs::write(host.path("elsewhere"), "precious").unwrap();
    symlink(host.path("elsewhere"), &provider).unwrap();
    host.install_well();
    assert_eq!(mode(&plugin), 0o755);
    assert!(fs::symlink_metadata(&provider).unwrap().is_file());
    assert_eq!(host.read("elsewhere"), "precious");
}

#[test]
fn a_program_that_is_being_executed_is_replaced() {
    let host = Host::new();
    fs::create_dir_all(host.path("opt/cni/bin")).unwrap();
    fs::copy("/bin/sleep", host.path("opt/cni/bin/tripod-cni")).unwrap();
    let mut running = Command::new(host.path("opt/cni/bin/tripod-cni")).arg("600").spawn().unwrap();
    host.image("tripod-cni", "plugin 2");
    host.install_well();
    assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 2");
    assert!(running.try_wait().unwrap().is_none());
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn a_foreign_loopback_stays_whatever_it_is() {
    for make in [
        (|path| fs::write(path, "the reference plugin").unwrap()) as fn(std::path::PathBuf),
        |path| symlink("/nowhere", path).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ] {
        let host = Host::new();
        fs::create_dir_all(host.path("opt/cni/bin")).unwrap();
        make(host.path("opt/cni/bin/loopback"));
        let stamp =
            || fs::symlink_metadata(host.path("opt/cni/bin/loopback")).map(|it| (it.ino(), it.ctime_nsec()));
        let before = stamp().unwrap();
        host.install_well();
        assert_eq!(stamp().unwrap(), before);
    }
}

#[test]
fn what_has_the_name_of_a_link_of_ours_makes_way_by_rename() {
    for make in [(|path| fs::write(path, "an old copy").unwrap()) as fn(std::path::PathBuf), |path| {
        symlink("/nowhere", path).unwrap()
    }] {
        let host = Host::new();
        host.install_well();
        let link = host.path("opt/cni/bin/tripod-ipam");
        fs::remove_file(&link).unwrap();
        make(link.clone());
        let mut recorder = Recorder::watch(&host.path("opt/cni/bin"));
        host.install_well();
        assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("tripod-cni"));
        assert_eq!(recorder.events_of("tripod-ipam"), [EventMask::MOVED_TO]);
        assert_eq!(names(&host.path("opt/cni/bin")), PLUGINS);
    }
}

#[test]
fn what_a_killed_installer_left_is_removed_and_nothing_else() {
    let host = Host::new();
    let bin = host.path("opt/cni/bin");
    fs::create_dir_all(&bin).unwrap();
    for name in [".tripod.tripod-cni.77", ".tripod.tripod-ipam.77", ".tripod.other.1", "bridge"] {
        fs::write(bin.join(name), "half").unwrap();
    }
    host.install_well();
    assert_eq!(names(&bin), [".tripod.other.1", "bridge", "loopback", "tripod-cni", "tripod-ipam"]);
}

#[test]
fn folders_in_which_others_could_replace_our_files_are_refused() {
    let host = Host::new();
    let bin = host.path("opt/cni/bin");
    fs::create_dir_all(&bin).unwrap();
    for open in [0o777, 0o775, 0o1777] {
        fs::set_permissions(&bin, fs::Permissions::from_mode(open)).unwrap();
        let output = host.install();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("opt/cni/bin") && error.contains("run chmod go-w"), "{error}");
        assert_eq!(names(&bin), Vec::<String>::new());
    }
    // The others were served all the same.
    assert_eq!(host.read("opt/credential/tripod-credential-provider"), "provider 1");
    fs::remove_dir(&bin).unwrap();
    fs::create_dir(host.path("real")).unwrap();
    symlink(host.path("real"), &bin).unwrap();
    let error = String::from_utf8(host.install().stderr).unwrap();
    assert!(error.contains("is a symbolic link; name the folder it points to"), "{error}");
    assert_eq!(names(&host.path("real")), Vec::<String>::new());
}

#[test]
fn a_missing_program_is_told_by_its_path() {
    let host = Host::new();
    fs::remove_file(host.path("image/tripod-cni")).unwrap();
    let output = host.install();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("image/tripod-cni") && error.contains("No such file"), "{error}");
    for line in error.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is one JSON document");
    }
}

#[test]
fn a_dry_run_tells_the_plan_and_touches_nothing() {
    let host = Host::new();
    let preview = || {
        let output = host.command(&["--dry-run"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.replace(&format!("{}/", host.path("").display().to_string().trim_end_matches('/')), "")
    };
    let all = |word: &str| {
        let paths = ["tripod-cni", "tripod-ipam", "loopback"].map(|name| format!("opt/cni/bin/{name}"));
        let others = ["opt/credential/tripod-credential-provider", "etc/tripod/node.yaml"].map(str::to_owned);
        paths.into_iter().chain(others).map(|path| format!("{word:<8} {path}\n")).collect::<String>()
    };
    assert_eq!(preview(), all("write"));
    assert_eq!(names(&host.path("")), ["config", "image"]);
    host.install_well();
    assert_eq!(preview(), all("keep"));
    host.image("tripod-cni", "plugin 2");
    assert_eq!(preview(), all("keep").replacen("keep    ", "replace ", 1));
    assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 1");
}

#[test]
fn a_leg_that_is_off_leaves_no_trace() {
    let host = Host::new();
    assert!(host.command(&["--legs", "credential-provider"]).status().unwrap().success());
    assert_eq!(names(&host.path("opt")), ["credential"]);
    assert!(host.command(&["--legs", "cni"]).status().unwrap().success());
    assert_eq!(names(&host.path("opt/cni/bin")), PLUGINS);
}

/// Whoever depends on the plugin keeps the one that runs.
#[test]
fn a_program_that_does_not_run_is_refused_and_the_old_one_stays() {
    let nonsense = (0..4096u32).map(|at| (at * 7 + 1) as u8).collect::<Vec<_>>();
    let mut foreign = fs::read(tripod_tests::programs::program("tripod-cni")).unwrap();
    // The header's word for the processor: AArch64.
    foreign[18] = 183;
    for (bytes, reason) in [
        (
            &nonsense[..],
            "it is damaged or made for another processor: use an image for this node's architecture",
        ),
        (&foreign, "made for another processor"),
        (&[], "made for another processor"),
        (b"#!/nowhere\n", "it cannot be started: No such file"),
        (b"#!/bin/sh\necho half a library >&2; exit 3\n", "exit status: 3, and said \\\"half a library\\\""),
        (b"#!/bin/sh\nkill -SEGV $$\n", "it is damaged: have the node pull the image again"),
    ] {
        let host = Host::new();
        host.install_well();
        host.image_file("tripod-cni", bytes);
        let error = refused(&host);
        assert!(error.contains("opt/cni/bin/tripod-cni") && error.contains(reason), "{error}");
        assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 1");
        assert_eq!(names(&host.path("opt/cni/bin")), PLUGINS);
    }
}

/// It is read at each pull: with a mistake in it, no private image could be pulled any more.
#[test]
fn a_configuration_with_mistakes_keeps_the_good_one_and_no_node_from_its_network() {
    let host = Host::new();
    let provider = host.path("image/tripod-credential-provider");
    fs::copy(tripod_tests::programs::program("tripod-credential-provider"), provider).unwrap();
    let entry = |keys: &str| format!("version: v1\nregistries:\n- match: [registry.example.com]\n  {keys}\n");
    // The file that it names is the host's, and not to be seen from here.
    let good = entry("provider: docker-config\n  file: /nowhere/auth.json");
    host.publish(&[("node.yaml", "version: v1\n"), ("credential-provider.yaml", &good)]);
    host.install_well();
    let bad = entry("provider: docker-confg");
    host.publish(&[("node.yaml", "version: v1\nmtu: 1400\n"), ("credential-provider.yaml", &bad)]);
    let dry = host.command(&["--dry-run"]).output().unwrap();
    let plan = String::from_utf8(dry.stdout).unwrap();
    assert!(!dry.status.success() && plan.contains("refuse "), "{plan}");
    let output = host.install();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    for said in ["etc/tripod/credential-provider.yaml", "stays as it was", "yaml:4", "docker-confg"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    assert_eq!(host.read("etc/tripod/credential-provider.yaml"), good);
    assert_eq!(host.read("etc/tripod/node.yaml"), "version: v1\nmtu: 1400\n");
    assert_eq!(names(&host.path("etc/tripod")), ["credential-provider.yaml", "node.yaml"]);
    // One that an earlier version let through is told all the same.
    fs::write(host.path("etc/tripod/credential-provider.yaml"), &bad).unwrap();
    let error = String::from_utf8(host.install().stderr).unwrap();
    assert!(error.contains("docker-confg"), "{error}");
}

/// That is no mistake of the configuration's, and somebody else has to act.
#[test]
fn a_provider_that_cannot_be_asked_is_told_as_such_and_fails_the_installation() {
    for (script, said) in [
        ("#!/bin/sh\n[ $1 = --version ] || kill -SEGV $$\n", "signal: 11"),
        ("#!/bin/sh\n[ $1 = --version ] || sleep 600\n", "it had not ended after 5s"),
        // Faster than anybody reads.
        ("#!/bin/sh\n[ $1 = --version ] || exec cat /dev/zero\n", "it had not ended after 5s"),
    ] {
        let host = Host::new();
        let provider = host.path("image/tripod-credential-provider");
        fs::write(&provider, script).unwrap();
        fs::set_permissions(&provider, fs::Permissions::from_mode(0o755)).unwrap();
        host.publish(&[("node.yaml", "version: v1\n"), ("credential-provider.yaml", "version: v1\n")]);
        let error = refused(&host);
        assert!(error.contains("cannot be asked") && error.contains(said), "{error}");
        assert!(!host.path("etc/tripod/credential-provider.yaml").exists());
    }
}

#[test]
fn a_provider_with_much_to_say_is_heard_to_its_end() {
    let host = Host::new();
    let provider = host.path("image/tripod-credential-provider");
    let script =
        "#!/bin/sh\n[ $1 = --version ] || { echo first; head -c 1000000 /dev/zero | tr '\\0' x; exit 1; }\n";
    fs::write(&provider, script).unwrap();
    fs::set_permissions(&provider, fs::Permissions::from_mode(0o755)).unwrap();
    host.publish(&[("node.yaml", "version: v1\n"), ("credential-provider.yaml", "version: v1\n")]);
    let output = host.install();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    assert!(error.contains("first xxx") && error.len() < 4096, "{error}");
}

/// As root, who may mount: the real programs, on a folder that nobody executes from.
#[test]
fn a_folder_mounted_noexec_is_told_before_a_pod_tells_it() {
    let Some(node) = tripod_tests::namespace::Namespace::node() else { return };
    let host = Host::new();
    for name in ["tripod-cni", "tripod-credential-provider"] {
        host.image_file(name, &fs::read(tripod_tests::programs::program(name)).unwrap());
    }
    let bin = host.path("opt/cni/bin");
    fs::create_dir_all(&bin).unwrap();
    node.sh(&format!("mount -t tmpfs -o noexec,mode=755 none {}", bin.display()));
    let mut install = host.command(&[]);
    let output = node.run(move || install.output().unwrap());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("its folder is mounted noexec: mount it without"), "{error}");
    assert_eq!(node.sh(&format!("find {} -type f", bin.display())), "");
    // The real provider lies where it may be executed.
    assert_eq!(names(&host.path("opt/credential")), ["tripod-credential-provider"]);
    node.sh(&format!("mount -o remount,exec {}", bin.display()));
    let mut install = host.command(&[]);
    assert!(node.run(move || install.status().unwrap()).success());
    assert_eq!(
        node.sh(&format!("CNI_COMMAND=VERSION {}/tripod-cni | grep -c supported", bin.display())),
        "1\n"
    );
}

/// It neither waits for ever nor listens for ever.
#[test]
fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    for endless in ["sleep 600 & echo $! > PID; wait", "echo $$ > PID; while :; do echo more; done"] {
        let host = Host::new();
        host.install_well();
        let note = host.path("pid");
        let script =
            format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{}\n", endless.replace("PID", note.to_str().unwrap()));
        host.image_file("tripod-cni", script.as_bytes());
        let error = refused(&host);
        assert!(error.contains("it had not ended after 5s"), "{error}");
        assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 1");
        let process = format!("/proc/{}", host.read("pid").trim());
        tripod_tests::eventually("it is gone", || !std::path::Path::new(&process).exists());
    }
}

/// What the installer says when it fails.
fn refused(host: &Host) -> String {
    let output = host.install();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}
