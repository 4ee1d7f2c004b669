//! The services of AWS that lead to a registry's password. They share one [`Accounts`]: what one of them
//! issues, the others know.

mod accounts;
mod container;
mod ecr;
mod imds;
pub mod sigv4;
mod sts;

pub use accounts::{Accounts, Key, Trust};
pub use container::ContainerCredentials;
pub use ecr::{Ecr, EcrPublic};
pub use imds::Imds;
pub use sts::Sts;
