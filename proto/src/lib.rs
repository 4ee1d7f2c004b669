//! The kubelet's gRPC interfaces: messages, clients and servers, generated from the `.proto` files
//! beside this crate and committed, so that a build needs no protobuf compiler. Nothing here is
//! written by hand; `tests/generated.rs` regenerates it and compares (`TRIPOD_BLESS=1` rewrites).

/// The device plugin API: the kubelet's `Registration` and the plugin's `DevicePlugin`.
pub mod deviceplugin {
    /// Version `v1beta1`, the only one a kubelet speaks.
    #[expect(
        missing_docs,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    pub mod v1beta1 {
        include!("gen/v1beta1.rs");
    }
}

/// Registration through the kubelet's plugin watcher.
pub mod pluginregistration {
    /// Version `v1`.
    #[expect(
        missing_docs,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    pub mod v1 {
        include!("gen/pluginregistration.rs");
    }
}

/// What the kubelet has given to which container.
pub mod podresources {
    /// Version `v1`.
    #[expect(
        missing_docs,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    pub mod v1 {
        include!("gen/v1.rs");
    }
}
