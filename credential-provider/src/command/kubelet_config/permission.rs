//! What the API server has to allow every kubelet: to ask for tokens of these audiences.

use std::collections::BTreeSet;

use super::quoted;
use crate::kubelet::entries::Entry;

/// What begins a line of the manifest, which stands in comments: the kubelet's file holds one document.
const MARK: &str = "#> ";

const HOW: &str = "\
# The API server gives a kubelet no token for these audiences until it is allowed to ask for them, once per cluster:
#   sed -n 's/^#> //p' THIS-FILE | kubectl apply -f -
";

/// A `ClusterRole` with its binding; nothing where no entry asks for tokens.
pub(super) fn render(entries: &[Entry]) -> String {
    let tokens = entries.iter().filter_map(|entry| entry.token.as_ref());
    let audiences: BTreeSet<_> = tokens.map(|token| token.audience.as_str()).collect();
    if audiences.is_empty() {
        return String::new();
    }
    let lines = manifest(&audiences);
    lines.lines().fold(HOW.to_owned(), |text, line| text + MARK + line + "\n")
}

fn manifest(audiences: &BTreeSet<&str>) -> String {
    let resources: String =
        audiences.iter().map(|audience| format!("      - {}\n", quoted(audience))).collect();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: tripod-image-tokens
rules:
  - apiGroups: [\"\"]
    verbs: [request-serviceaccounts-token-audience]
    resources:
{resources}---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: tripod-image-tokens
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: tripod-image-tokens
subjects:
  - apiGroup: rbac.authorization.k8s.io
    kind: Group
    name: system:nodes
"
    )
}
