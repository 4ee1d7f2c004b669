//! The CNI leg: what the container runtime executes once per pod sandbox.
