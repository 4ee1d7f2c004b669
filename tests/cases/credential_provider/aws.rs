//! Registries of AWS: the program, executed, against far ends that refuse what AWS would refuse.

mod bursts;
mod cache;
mod identities;
mod oracle;
mod pods;
mod profiles;
mod real_names;
mod registries;
mod trouble;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use tripod_tests::farend::Server;
use tripod_tests::farend::aws::{Accounts, ContainerCredentials, Ecr, EcrPublic, Imds, Key, Sts, Trust};
use tripod_tests::farend::jwt::Issuer;
use tripod_tests::programs;

use super::{Node, Ran, run_as_it_is};

const IMAGE: &str = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app";
const PUBLIC_IMAGE: &str = "public.ecr.aws/team/app";
const MATCH: &str = "match: [\"*.dkr.ecr.*.amazonaws.com\"]";
const PUBLIC: [&str; 2] = ["match: [public.ecr.aws]", "provider: ecr-public"];
const REGION: &str = "eu-west-1";

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+hunter2";
const USER: &str = "arn:aws:iam::111122223333:user/ci";
const NODE_ROLE: &str = "arn:aws:iam::111122223333:role/node";
const POD_ROLE: &str = "arn:aws:iam::111122223333:role/puller";
const OTHER_ROLE: &str = "arn:aws:iam::444455556666:role/shared";
const TASK_ROLE: &str = "arn:aws:iam::111122223333:role/task";
const EXTERNAL_ID: &str = "tripod-7";

const AUDIENCE: &str = "sts.amazonaws.com";
const AGENT_AUDIENCE: &str = "pods.eks.amazonaws.com";
const ANNOTATION: &str = "eks.amazonaws.com/ecr-role-arn";
const TASK_TOKEN: &str = "Basic of-the-task-hunter2";

/// Whatever of this shows in a message is a leak.
const SECRETS: [&str; 5] = ["hunter2", "temporary/secret", "IQoJb3Jp", "password-", "AQAEA"];

/// A node, and AWS around it.
struct Site {
    node: Node,
    env: BTreeMap<String, String>,
    accounts: Accounts,
    cluster: Issuer,
    key: Key,
    ecr: Server,
    public: Server,
    sts: Server,
    imds: Server,
    task: Server,
    agent: Server,
}

impl Site {
    /// With a user, a node's role, a role for the service account `team/puller`, and a role of another account.
    fn new() -> Self {
        let (accounts, cluster) = (Accounts::default(), Issuer::new("https://cluster.example"));
        let key = accounts.add(Key::of_user("AKIAIOSFODNN7EXAMPLE", SECRET, USER));
        let subject = "system:serviceaccount:team:puller".to_owned();
        let (issuer, audience) = (cluster.clone(), AUDIENCE.to_owned());
        accounts.add_role(POD_ROLE, Trust::WebIdentity { issuer, subject: subject.clone(), audience });
        let site = Self {
            ecr: Server::start(Ecr::new(&accounts, REGION)),
            public: Server::start(EcrPublic::new(&accounts)),
            sts: Server::start(Sts::new(&accounts, REGION)),
            imds: Server::start(Imds::new(&accounts, REGION, Some(NODE_ROLE))),
            task: Server::start(ContainerCredentials::of_task(&accounts, TASK_ROLE, "/v2/keys", TASK_TOKEN)),
            agent: Server::start(ContainerCredentials::of_pod(&accounts, POD_ROLE, &cluster, &subject)),
            node: Node::new(),
            env: BTreeMap::new(),
            accounts,
            cluster,
            key,
        };
        site.trust(USER);
        let (ecr, public, sts, imds) = (site.ecr.url(), site.public.url(), site.sts.url(), site.imds.url());
        site.set("AWS_ENDPOINT_URL_ECR", &ecr)
            .set("AWS_ENDPOINT_URL_ECR_PUBLIC", &public)
            .set("AWS_ENDPOINT_URL_STS", &sts)
            .set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds)
    }

    /// Lets `arn` take on the role of the other account.
    fn trust(&self, arn: &str) {
        let external_id = Some(EXTERNAL_ID.to_owned());
        self.accounts.add_role(OTHER_ROLE, Trust::Principal { arn: arn.into(), external_id });
    }

    /// Sets a variable of the kubelet's environment.
    fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts the user's key into the kubelet's environment.
    fn with_key(self) -> Self {
        let (id, secret) = (self.key.id.clone(), self.key.secret.clone());
        self.set("AWS_ACCESS_KEY_ID", &id).set("AWS_SECRET_ACCESS_KEY", &secret)
    }

    /// A file of the node's.
    fn file(&self, name: &str, text: &str) -> String {
        self.node.write(name, text);
        self.node.path(name).display().to_string()
    }

    /// One entry for private registries with these `lines`.
    fn configure(&self, lines: &[&str]) {
        self.configure_all(&[&[&[MATCH, "provider: ecr"], lines].concat()]);
    }

    /// Entries with these lines.
    fn configure_all(&self, entries: &[&[&str]]) {
        let dir = self.node.path("cache");
        let head = format!("version: v1\ndefaults: {{deadline: 3s}}\ncache: {{dir: {}}}\n", dir.display());
        let entries = entries.iter().map(|lines| format!("  - {}\n", lines.join("\n    ")));
        self.node.write("config.yaml", &format!("{head}registries:\n{}", entries.collect::<String>()));
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = Command::new(programs::program("tripod-credential-provider"));
        command.args(arguments).arg("--config").arg(self.node.path("config.yaml"));
        command.env_clear().envs(&self.env);
        run_as_it_is(command, stdin.as_bytes())
    }

    /// Asks as the kubelet does.
    fn ask(&self, image: &str) -> Ran {
        self.run(&[], &super::request(image))
    }

    /// Asks in the name of a pod with this token, whose service account has these annotations.
    fn ask_for(&self, image: &str, token: &str, annotations: &Value) -> Ran {
        let mut request: Value = serde_json::from_str(&super::request(image)).unwrap();
        request["serviceAccountToken"] = token.into();
        request["serviceAccountAnnotations"] = annotations.clone();
        self.run(&[], &request.to_string())
    }

    /// A token of `account`, as in `team/puller`.
    fn token(&self, account: &str, audience: &str) -> String {
        self.cluster.service_account(account, audience, 600)
    }

    /// The steps that `explain` tells of.
    fn explain(&self, image: &str) -> String {
        let ran = self.run(&["explain", image], "");
        assert_no_secret(&ran.stdout);
        ran.stdout
    }

    /// Nobody was asked anything.
    fn assert_silence(&self) {
        for server in [&self.ecr, &self.public, &self.sts, &self.imds, &self.task, &self.agent] {
            assert_eq!(server.seen().len(), 0, "{:?}", server.seen());
        }
    }
}

impl Ran {
    /// The principal that a registry's password was given to, and for how many seconds the kubelet keeps it.
    fn principal(&self) -> (String, u64) {
        let document = self.document();
        let auth = document["auth"].as_object().expect("logins");
        assert_eq!(auth.len(), 1, "{document}");
        let login = auth.values().next().expect("a login");
        assert_eq!(login["username"], "AWS");
        let password = login["password"].as_str().expect("a password");
        let (_, principal) = password.split_once("-of-").expect("a password that names its owner");
        let kept = document["cacheDuration"].as_str().expect("a time").trim_end_matches('s');
        (principal.to_owned(), kept.parse().expect("seconds"))
    }

    /// The one line of a failure, which holds `words` and no secret.
    fn assert_says(&self, words: &[&str]) {
        let line = self.complaint();
        for word in words {
            assert!(line.contains(word), "no {word:?} in {line}");
        }
        assert_no_secret(line);
    }
}

fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// A session of `role`.
fn session(role: &str, name: &str) -> String {
    role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/" + name
}

/// The annotation by which a service account names `role`.
fn annotated(role: &str) -> Value {
    json!({ANNOTATION: role})
}
