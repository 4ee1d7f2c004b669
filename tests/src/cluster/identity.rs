//! Who is who in the cluster: an authority, the API server's certificate, and one token per client.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::addresses::{CONTROL_PLANE, Families};
use super::machine::command_line;

/// Key material of one cluster, in a folder.
#[derive(Debug)]
pub struct Identities {
    folder: PathBuf,
    clients: Vec<Client>,
    families: Families,
}

#[derive(Debug)]
struct Client {
    user: String,
    group: &'static str,
    token: String,
}

impl Identities {
    /// Makes identities for an admin, the control plane and one kubelet per node.
    pub fn create(folder: &Path, nodes: &[String], families: Families) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let system = ["kube-controller-manager", "kube-scheduler", "kube-proxy"];
        let mut clients = vec![client("admin", "system:masters")?];
        for user in system.map(|name| format!("system:{name}")) {
            clients.push(client(&user, "")?);
        }
        for node in nodes {
            clients.push(client(&format!("system:node:{node}"), "system:nodes")?);
        }
        let identities = Self { folder: folder.to_owned(), clients, families };
        identities.make_certificates()?;
        fs::write(identities.tokens(), identities.render_tokens())?;
        Ok(identities)
    }

    /// The API server's private key. It also signs the tokens of service accounts.
    pub fn key(&self) -> PathBuf {
        self.folder.join("cluster.key")
    }

    /// The API server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("cluster.crt")
    }

    /// The certificate of the authority that clients trust.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }

    /// The API server's token file.
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// A kubeconfig of `user`. Its paths are the same on every machine.
    pub fn kubeconfig(&self, user: &str) -> anyhow::Result<String> {
        let client = self.clients.iter().find(|client| client.user == user);
        let token = &client.with_context(|| format!("no identity {user}"))?.token;
        Ok(format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters: [{{name: tripod, cluster: {{server: \"https://{}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: \"{user}\", user: {{token: \"{token}\"}}}}]\n\
             contexts: [{{name: tripod, context: {{cluster: tripod, user: \"{user}\"}}}}]\n\
             current-context: tripod\n",
            self.families.api_server(),
            self.authority().display()
        ))
    }

    /// As files of their own, for programs that take a path.
    pub fn write_kubeconfig(&self, user: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{}.kubeconfig", user.replace(':', "-")));
        fs::write(&path, self.kubeconfig(user)?)?;
        Ok(path)
    }

    fn render_tokens(&self) -> String {
        let line = |(id, client): (usize, &Client)| {
            format!("{},{},{id},\"{}\"\n", client.token, client.user, client.group)
        };
        self.clients.iter().enumerate().map(line).collect()
    }

    fn make_certificates(&self) -> anyhow::Result<()> {
        let authority_key = self.folder.join("authority.key");
        certify(&authority_key, &self.authority(), &["-subj", "/CN=tripod-e2e authority"])?;
        let names = format!(
            "subjectAltName=IP:{},IP:{},IP:{},DNS:kubernetes.default.svc",
            CONTROL_PLANE.v4,
            CONTROL_PLANE.v6,
            self.families.api_service()
        );
        let (signer, key) = (self.authority(), authority_key.to_string_lossy().into_owned());
        let signed =
            ["-CA", &signer.to_string_lossy(), "-CAkey", &key, "-addext", "basicConstraints=CA:FALSE"];
        let named = ["-subj", "/CN=tripod-e2e API server", "-addext", &names];
        certify(&self.key(), &self.certificate(), &[&signed[..], &named].concat())
    }
}

/// Makes a key and a certificate for it, signed by itself unless `words` name a signer.
fn certify(key: &Path, certificate: &Path, words: &[&str]) -> anyhow::Result<()> {
    let mut openssl = command_line(&["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]).args(words);
    openssl.arg("-keyout").arg(key).arg("-out").arg(certificate);
    let output = openssl.output().context("openssl")?;
    anyhow::ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn client(user: &str, group: &'static str) -> anyhow::Result<Client> {
    let token = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
    Ok(Client { user: user.to_owned(), group, token })
}
