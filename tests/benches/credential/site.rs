//! A node, the release build on it, and the far ends of AWS.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tripod_tests::farend::Server;
use tripod_tests::farend::aws::{Accounts, Ecr, Key, Sts, Trust};
use tripod_tests::farend::jwt::Issuer;
use tripod_tests::internet::Internet;
use tripod_tests::programs::{self, Profile};

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) memory_kib: u64,
}

pub(crate) struct Site {
    pub(crate) internet: Internet,
    pub(crate) key: Key,
    pub(crate) ecr: Server,
    sts: Server,
    cluster: Issuer,
    program: PathBuf,
    launcher: PathBuf,
    nothing: PathBuf,
}

pub(crate) const REGION: &str = "eu-west-1";
const ROLE: &str = "arn:aws:iam::123456789012:role/puller";
const AUDIENCE: &str = "sts.amazonaws.com";

impl Site {
    /// `None`, loudly, without root.
    pub(crate) fn new() -> Option<Self> {
        let mut internet = Internet::new()?;
        let (accounts, cluster) = (Accounts::default(), Issuer::new("https://cluster.example"));
        let user = "arn:aws:iam::123456789012:user/node";
        let key = accounts.add(Key::of_user("AKIAEXAMPLE", "hunter2-secret-access-key", user));
        let subject = "system:serviceaccount:team:puller".to_owned();
        let trust = Trust::WebIdentity { issuer: cluster.clone(), subject, audience: AUDIENCE.into() };
        accounts.add_role(ROLE, trust);
        let ecr = internet.serve("api.ecr.eu-west-1.amazonaws.com", Ecr::new(&accounts, REGION));
        let sts = internet.serve("sts.eu-west-1.amazonaws.com", Sts::new(&accounts, REGION));
        let folder = programs::build(Profile::Release, &["tripod-credential-provider"]).expect("it builds");
        let program = folder.join("tripod-credential-provider");
        let (launcher, nothing) = (programs::compile("launch"), programs::compile("true"));
        let site = Self { internet, key, ecr, sts, cluster, program, launcher, nothing };
        site.configure("config.yaml", "identity: [environment]");
        site.configure("pods.yaml", &format!("identity: [service-account], serviceAccountRole: {ROLE}"));
        Some(site)
    }

    fn configure(&self, name: &str, keys: &str) {
        let path = |name: &str| self.internet.path(name).display().to_string();
        let text = format!(
            "version: v1\ndefaults: {{caFile: {}}}\ncache: {{dir: {}}}\nregistries:\n\
             - {{match: [\"*.dkr.ecr.*.amazonaws.com\"], provider: ecr, {keys}}}\n",
            path("ca.pem"),
            path("cache")
        );
        self.internet.write(name, &text);
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// How often a token was asked for since [`forget`](Self::forget).
    pub(crate) fn requests(&self) -> usize {
        self.ecr.seen().len()
    }

    /// How often a pod's token was exchanged since then.
    pub(crate) fn exchanges(&self) -> usize {
        self.sts.seen().len()
    }

    /// As on a node that has just started.
    pub(crate) fn forget(&self) {
        drop(std::fs::remove_dir_all(self.internet.path("cache")));
        self.ecr.forget();
        self.sts.forget();
    }

    pub(crate) fn cost_of_nothing(&self) -> Cost {
        let mut command = Command::new(&self.launcher);
        command.arg(&self.nothing);
        self.cost(command, String::new())
    }

    pub(crate) fn cost_of_an_answer(&self) -> Cost {
        let mut command = Command::new(&self.launcher);
        self.answering(command.arg(&self.program), "config.yaml");
        self.cost(command, request(0).to_string())
    }

    /// So many images at once, of ten registries; the time until the last is answered.
    pub(crate) fn pull_at_once(&self, count: usize) -> Duration {
        let pulls = (0..count).map(|number| (self.command("config.yaml"), request(number).to_string()));
        self.pull(pulls.collect())
    }

    /// So many pods at once, each with a token of its own.
    pub(crate) fn pull_for_pods(&self, count: usize) -> Duration {
        let pulls = (0..count).map(|number| {
            let mut asked = request(0);
            let life = 600 + i64::try_from(number).expect("a small number");
            asked["serviceAccountToken"] = self.cluster.service_account("team/puller", AUDIENCE, life).into();
            (self.command("pods.yaml"), asked.to_string())
        });
        self.pull(pulls.collect())
    }

    fn pull(&self, pulls: Vec<(Command, String)>) -> Duration {
        let begin = Instant::now();
        let answers = self.internet.run_at_once(pulls);
        let wall = begin.elapsed();
        answers.iter().for_each(assert_answered);
        wall
    }

    fn command(&self, config: &str) -> Command {
        let mut command = Command::new(&self.program);
        self.answering(&mut command, config);
        command
    }

    fn answering(&self, command: &mut Command, config: &str) {
        command.arg("--config").arg(self.internet.path(config)).env_clear();
        command.env("AWS_ACCESS_KEY_ID", &self.key.id).env("AWS_SECRET_ACCESS_KEY", &self.key.secret);
    }

    fn cost(&self, mut command: Command, stdin: String) -> Cost {
        let path = self.internet.write("request", &stdin);
        let output = self.internet.run(move || {
            let stdin = std::fs::File::open(path).expect("the request");
            command.stdin(stdin).stdout(Stdio::piped()).output().expect("the program starts")
        });
        assert!(output.status.success(), "{output:?}");
        let account = String::from_utf8_lossy(&output.stderr).into_owned();
        let numbers: Vec<u64> =
            account.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        let [wall, _, memory_kib] = numbers[..] else { panic!("three numbers: {account}") };
        Cost { wall: Duration::from_nanos(wall), memory_kib }
    }
}

fn assert_answered(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("password"), "credentials");
}

fn request(number: usize) -> Value {
    json!({
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": format!("12345678901{}.dkr.ecr.{REGION}.amazonaws.com/team/app-{number}", number % 10),
    })
}
