//! One integration binary (one link) of all cases that run the real programs.

mod cni;
<<<<<<< HEAD
mod node;
=======
mod credential_provider;
mod device_plugin;
>>>>>>> main
mod workspace;
