//! What a provider wants of the kubelet: the token of the pod's service account, or none.

/// Why there is none.
pub const NOT_PASSED: &str =
    "the kubelet passed no service account token: the pod is static, or tokenAttributes are not configured";

/// The token of a pod's service account, with which a provider asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodToken {
    /// For whom it is, unless the entry says otherwise.
    pub audience: Option<String>,
    /// The annotations of the service account that tell more.
    pub annotations: Vec<String>,
    /// Whether the token itself becomes the password, so that the answer is for one pod alone.
    pub passed_on: bool,
    /// Whether there is nobody else in whose name to ask.
    pub needed: bool,
}
