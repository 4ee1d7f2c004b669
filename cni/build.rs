//! Links the program at fixed addresses. A static program that may lie anywhere relocates itself at each
//! start, which writes to every page of its constant data.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        // After the compiler's own `-static-pie`, of which the first takes half back, but not `-static`.
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-bins=-static");
    }
}
