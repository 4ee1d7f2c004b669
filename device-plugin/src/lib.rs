//! The device-plugin leg: gRPC with the kubelet over Unix sockets.
