//! Who is who in the cluster: one key and certificate for the API server, one token per client.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::addresses::{API_SERVICE, CONTROL_PLANE};
use super::machine::command_line;

/// Key material of one cluster, in a folder.
#[derive(Debug)]
pub struct Identities {
    folder: PathBuf,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    user: String,
    group: &'static str,
    token: String,
}

impl Identities {
    /// Makes identities for an admin, the control plane and one kubelet per node.
    pub fn create(folder: &Path, nodes: &[String]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let system = ["kube-controller-manager", "kube-scheduler"];
        let mut clients = vec![client("admin", "system:masters")?];
        for user in system.map(|name| format!("system:{name}")) {
            clients.push(client(&user, "")?);
        }
        for node in nodes {
            clients.push(client(&format!("system:node:{node}"), "system:nodes")?);
        }
        let identities = Self { folder: folder.to_owned(), clients };
        identities.make_certificate()?;
        fs::write(identities.tokens(), identities.render_tokens())?;
        Ok(identities)
    }

    /// The API server's private key. It also signs the tokens of service accounts.
    pub fn key(&self) -> PathBuf {
        self.folder.join("cluster.key")
    }

    /// The API server's certificate. It is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("cluster.crt")
    }

    /// The API server's token file.
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// A kubeconfig of `user`, for a machine that finds the API server's certificate at `certificate`.
    pub fn kubeconfig(&self, user: &str, certificate: &Path) -> anyhow::Result<String> {
        let client = self.clients.iter().find(|client| client.user == user);
        let token = &client.with_context(|| format!("no identity {user}"))?.token;
        Ok(format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters: [{{name: tripod, cluster: {{server: \"https://{}:6443\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: \"{user}\", user: {{token: \"{token}\"}}}}]\n\
             contexts: [{{name: tripod, context: {{cluster: tripod, user: \"{user}\"}}}}]\n\
             current-context: tripod\n",
            CONTROL_PLANE.v4,
            certificate.display()
        ))
    }

    /// As files of their own, for programs that take a path.
    pub fn write_kubeconfig(&self, user: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{}.kubeconfig", user.replace(':', "-")));
        fs::write(&path, self.kubeconfig(user, &self.certificate())?)?;
        Ok(path)
    }

    fn render_tokens(&self) -> String {
        let line = |(id, client): (usize, &Client)| {
            format!("{},{},{id},\"{}\"\n", client.token, client.user, client.group)
        };
        self.clients.iter().enumerate().map(line).collect()
    }

    fn make_certificate(&self) -> anyhow::Result<()> {
        let names = format!(
            "subjectAltName=IP:{},IP:{},IP:{API_SERVICE},DNS:kubernetes.default.svc",
            CONTROL_PLANE.v4, CONTROL_PLANE.v6
        );
        let mut openssl =
            command_line(&["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=tripod"]);
        openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", &names]);
        // A server may not show an authority's certificate as its own.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(self.key());
        let output = openssl.arg("-out").arg(self.certificate()).output().context("openssl")?;
        anyhow::ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

fn client(user: &str, group: &'static str) -> anyhow::Result<Client> {
    let token = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
    Ok(Client { user: user.to_owned(), group, token })
}
