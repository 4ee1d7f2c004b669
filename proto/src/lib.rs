//! Generated types of the kubelet's gRPC interfaces.
