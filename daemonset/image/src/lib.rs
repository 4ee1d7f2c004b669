//! `cargo image`: writes the image without a container engine.
