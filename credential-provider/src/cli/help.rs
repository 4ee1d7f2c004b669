//! What `--help` teaches.

/// What `--help` prints.
pub const HELP: &str = "\
tripod-credential-provider: gives the kubelet user name and password for private image registries.

The kubelet runs this program at each pull of an image that matches, with a CredentialProviderRequest on
stdin, and reads the credentials from stdout. People use the commands below.

usage:
  tripod-credential-provider                  answer the request on stdin
  tripod-credential-provider explain IMAGE    which entry answers for IMAGE, why, and by which calls; makes none
  tripod-credential-provider get IMAGE --redact
                                              make them, and show what would be answered, without the secrets
  tripod-credential-provider check-config     look for mistakes, exit 1 if there are any
  tripod-credential-provider doctor [IMAGE]   try every identity that IMAGE's entry has, with timings
  tripod-credential-provider kubelet-config   print the kubelet's side of the wiring
  tripod-credential-provider cache ls|clear   what is kept between two pulls: list it, forget it

options:
  --config FILE       our configuration, by default /etc/tripod/credential-provider.yaml
  --json              for explain, check-config and doctor [{check, severity: ok|warn|fail, object, evidence,
                      fix}] instead of text; also for cache ls
  --no-files          check-config: look at the configuration alone, not at the files and programs that it names
  --token FILE        explain, get, doctor: a service account's token, as the kubelet would pass it
  --annotation K=V    explain, get, doctor: an annotation of that service account; may be repeated
  --bin-dir DIR       kubelet-config: where the kubelet finds this program, by default where the platform has its
                      providers, or the folder it lies in; check-config, explain: where to look for the programs
  --kubelet-version X.Y
                      kubelet-config, check-config, explain: of which release the rules are, by default the newest
                      known
  --platform NAME     kubelet-config: kubeadm, kind, k3s, rke2, k0s, microk8s, minikube, eks, gke, aks, openshift,
                      talos, bottlerocket or plain (default)
  --kubelet-config FILE|DIR
                      check-config: look at the kubelet's own file too, by its rules, and whether it fits ours;
                      explain: say first which of its entries match IMAGE, which of them ask this program, and why
                      the others do not
  --help, --version

configuration:
  version: v1
  registries:
    - match: [\"registry.example.com\", \"*.example.net:5000\"]
      provider: docker-config
      file: /etc/tripod/registry-auth.json
      onError: fail

  match     as the kubelet's matchImages: \"*\" stands for one part of the host name between dots, the port must
            be equal, a path is a prefix (\"registry.example.com/team/\"). The first entry that matches answers.
  provider  ecr, ecr-public, acr, gcp, ocir; harbor, quay, jfrog, cloudsmith, vault, oidc (by the pod's token);
            docker-config (a Docker config.json), docker-helper, kubelet-plugin (other programs).
            Each has keys of its own; a wrong key is answered with those it has.
  identity  in whose name a cloud is asked, in order; doctor IMAGE tries them
  mirrorOf  the registry whose credentials are given, where images are named after its mirror
  tokenAudience
            for whom the pod's token is to be, where the registry is asked with one; kubelet-config prints the rest
  onError   fail (default), or anonymous: pull without credentials when they cannot be had;
            onMissingIdentity says the same of a node or pod without any identity

The file, and config.d/*.yaml beside it, are read at each pull; a change needs no restart of the kubelet. A new
registry in `match` does need one, because the kubelet reads its own list (see kubelet-config) only when it starts.
";
