//! The image credential provider: what the kubelet executes once per image pull.
