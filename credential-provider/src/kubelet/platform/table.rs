//! What is known of each distribution. Only what the tests do counts as verified.

use super::Platform;

const FLAGS: [&str; 2] =
    ["  --image-credential-provider-config=CONFIG", "  --image-credential-provider-bin-dir=BIN_DIR"];

const DEFAULT_FILE: &str = "/etc/kubernetes/credential-providers.yaml";
const RANCHER_FILE: &str = "/var/lib/rancher/credentialprovider/config.yaml";
const RANCHER_BIN: &str = "/var/lib/rancher/credentialprovider/bin";

/// All that are known, the first without any distribution.
pub(super) const PLATFORMS: [Platform; 14] = [
    Platform {
        name: "plain",
        config: DEFAULT_FILE,
        bin_dir: None,
        verified: true,
        steps: &[
            "Save this on the node, for example as CONFIG, add two flags to the",
            "kubelet, and restart it:",
            FLAGS[0],
            FLAGS[1],
        ],
    },
    Platform {
        name: "kubeadm",
        config: DEFAULT_FILE,
        bin_dir: None,
        verified: false,
        steps: &[
            "Save this as CONFIG. On a node that has joined, write both flags into KUBELET_EXTRA_ARGS of",
            "/etc/default/kubelet (/etc/sysconfig/kubelet on RPM systems) and run systemctl restart kubelet; for",
            "new nodes set them below nodeRegistration.kubeletExtraArgs of InitConfiguration and JoinConfiguration:",
            FLAGS[0],
            FLAGS[1],
        ],
    },
    Platform {
        name: "kind",
        config: DEFAULT_FILE,
        bin_dir: None,
        verified: false,
        steps: &[
            "A setting for the cluster's creation. In its configuration give each node extraMounts for this file at",
            "CONFIG and for the folder BIN_DIR, and kubeadmConfigPatches with both flags below",
            "nodeRegistration.kubeletExtraArgs of InitConfiguration and JoinConfiguration:",
            FLAGS[0],
            FLAGS[1],
        ],
    },
    Platform {
        name: "k3s",
        config: RANCHER_FILE,
        bin_dir: Some(RANCHER_BIN),
        verified: false,
        steps: &[
            "Save this as CONFIG. k3s passes both places to its kubelet when it finds them at its start:",
            "systemctl restart k3s, or k3s-agent. Elsewhere, name them in /etc/rancher/k3s/config.yaml:",
            "  image-credential-provider-config: CONFIG",
            "  image-credential-provider-bin-dir: BIN_DIR",
        ],
    },
    Platform {
        name: "rke2",
        config: RANCHER_FILE,
        bin_dir: Some(RANCHER_BIN),
        verified: false,
        steps: &[
            "Save this as CONFIG. RKE2 passes both places to its kubelet when it finds them at its start:",
            "systemctl restart rke2-server, or rke2-agent. Elsewhere, name them in /etc/rancher/rke2/config.yaml:",
            "  image-credential-provider-config: CONFIG",
            "  image-credential-provider-bin-dir: BIN_DIR",
        ],
    },
    Platform {
        name: "k0s",
        config: "/etc/k0s/credential-providers.yaml",
        bin_dir: None,
        verified: false,
        steps: &[
            "Save this as CONFIG. Install the worker with both flags inside --kubelet-extra-args, and start it anew:",
            FLAGS[0],
            FLAGS[1],
        ],
    },
    Platform {
        name: "microk8s",
        config: "/var/snap/microk8s/common/credential-providers.yaml",
        bin_dir: None,
        verified: false,
        steps: &[
            "Save this as CONFIG, add both flags as lines to /var/snap/microk8s/current/args/kubelet, and",
            "run snap restart microk8s.daemon-kubelite. The snap must be able to read both places:",
            FLAGS[0],
            FLAGS[1],
        ],
    },
    Platform {
        name: "minikube",
        config: DEFAULT_FILE,
        bin_dir: None,
        verified: false,
        steps: &[
            "Save this below ~/.minikube/files as .CONFIG, which minikube copies into the node, and start with:",
            "  minikube start --extra-config=kubelet.image-credential-provider-config=CONFIG \\",
            "    --extra-config=kubelet.image-credential-provider-bin-dir=BIN_DIR",
            "The programs must lie there before the kubelet starts, so put them below ~/.minikube/files too.",
        ],
    },
    Platform {
        name: "eks",
        config: "/etc/eks/image-credential-provider/config.json",
        bin_dir: Some("/etc/eks/image-credential-provider"),
        verified: false,
        steps: &[
            "The node image has its own CONFIG with ecr-credential-provider, and its kubelet",
            "has the flags. Add the entries below to the list in that file (JSON is YAML too), and run",
            "systemctl restart kubelet. Do so in the node's user data, before the kubelet starts: a replaced",
            "node comes with the image's file again. Where the images are the same, the entry that stands first is",
            "tried first.",
        ],
    },
    Platform {
        name: "gke",
        config: "/etc/srv/kubernetes/cri_auth_config.yaml",
        bin_dir: Some("/home/kubernetes/bin"),
        verified: false,
        steps: &[
            "The node image has its own CONFIG with auth-provider-gcp, and its kubelet has",
            "the flags. Add the entries below to its list and run systemctl restart kubelet. Google does not support",
            "this: an upgrade, a repair or a new node brings its own file again, so something on the node has to",
            "repeat it each time.",
        ],
    },
    Platform {
        name: "aks",
        config: "/var/lib/kubelet/credential-provider-config.yaml",
        bin_dir: Some("/var/lib/kubelet/credential-provider"),
        verified: false,
        steps: &[
            "The node has its own CONFIG with acr-credential-provider, and its kubelet",
            "has the flags. Add the entries below to its list and run systemctl restart kubelet. A new node or a new",
            "node image brings its own file again, so something on the node has to repeat it each time.",
        ],
    },
    Platform {
        name: "openshift",
        config: "/etc/kubernetes/credential-providers/tripod.yaml",
        bin_dir: Some("/usr/libexec/kubelet-image-credential-provider-plugins"),
        verified: false,
        steps: &[
            "A MachineConfig's business: it writes CONFIG, and a drop-in of kubelet.service with both",
            "flags; the Machine Config Operator then restarts each node. /usr is read-only, so the programs come",
            "with a layered node image, or lie elsewhere, and then say where with --bin-dir. On a cloud the",
            "platform sets both flags itself: add the entries below to the file that its flag names.",
            FLAGS[0],
            FLAGS[1],
        ],
    },
    Platform {
        name: "talos",
        config: "/etc/kubernetes/credential-providers.yaml",
        bin_dir: Some("/usr/local/lib/kubelet/credentialproviders"),
        verified: false,
        steps: &[
            "Impossible on a running node: its file system is read-only. The programs have to be a system",
            "extension of the node's image, which puts them into BIN_DIR; the document below is the",
            "value of machine.kubelet.credentialProviderConfig in the machine configuration.",
        ],
    },
    Platform {
        name: "bottlerocket",
        config: "/etc/kubernetes/kubelet/credential-provider-config.yaml",
        bin_dir: Some("/usr/libexec/kubernetes/kubelet/plugins"),
        verified: false,
        steps: &[
            "Impossible with the images as they are: settings.kubernetes.credential-providers takes only the",
            "programs that are built into the image, and its file system is read-only. With a variant of your own",
            "that has these programs in BIN_DIR, the document below is what its",
            "settings must come to.",
        ],
    },
];
