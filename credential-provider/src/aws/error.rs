//! What is wrong with an identity that is there.

use std::path::PathBuf;

use thiserror::Error;

/// Why an identity that is there cannot be used. The next one is not tried then: the admin meant this one.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Of two variables that go together only one is set.
    #[error("{there} is set and {lacks} is not")]
    Half {
        /// The one.
        there: &'static str,
        /// The other.
        lacks: &'static str,
    },
    /// An annotation or a key of a profile that is to name a role.
    #[error("{name} of {holder} is no role: {why}")]
    Role {
        /// The annotation or key.
        name: String,
        /// The service account or profile.
        holder: String,
        /// What to write.
        why: String,
    },
    /// An address that keys are not to be asked of.
    #[error(
        "{name} points to {host}: without https, keys are asked of this node, ECS and the Pod Identity agent only"
    )]
    Container {
        /// The variable.
        name: &'static str,
        /// Its host.
        host: String,
    },
    /// The profile that is asked for by name.
    #[error("no profile {profile:?} in {files}")]
    NoProfile {
        /// Its name.
        profile: String,
        /// Where it was looked for.
        files: String,
    },
    /// Profiles that lead back to themselves.
    #[error("source_profile goes in a circle: {0}")]
    Circle(String),
    /// A profile out of which no keys come.
    #[error("profile {profile:?} {why}")]
    Profile {
        /// Its name.
        profile: String,
        /// What it lacks, or has too much.
        why: String,
    },
    /// A shared config or credentials file.
    #[error("{}:{line}: {problem}", path.display())]
    Ini {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The metadata service knows a role and has no keys of it.
    #[error("step=imds-keys err=answer: no keys of role {role}: code={code}")]
    Instance {
        /// The role.
        role: String,
        /// The service's word for it.
        code: String,
    },
}

impl IdentityError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Half { .. } => "set both or none in the kubelet's environment",
            Self::Role { .. } => "correct it",
            Self::Container { .. } => "correct the kubelet's environment",
            Self::NoProfile { .. } => "correct profile or AWS_PROFILE, or the path of the files",
            Self::Circle(_) | Self::Profile { .. } | Self::Ini { .. } => "correct the profile",
            Self::Instance { .. } => "look at the role's instance profile and its trust in ec2.amazonaws.com",
        }
    }
}
