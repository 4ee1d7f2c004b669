//! Keys of an entry that say who one is at AWS.

use crate::config::ValueProblem;
use crate::config::keys::{At, Keys as ConfigKeys};
use crate::provider::pod_token::PodToken;

use super::Identity;
use super::partition::is_region;

/// Who one is at AWS, and in which region one asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// In the order in which they are tried. One that is not there is passed over; one that fails is not.
    pub identities: Vec<Identity>,
    /// The region in which roles are taken on, where it is not the registry's.
    pub region: Option<String>,
    /// The profile of the shared config and credentials files.
    pub profile: Option<String>,
    /// Annotations of a service account that name its role; the first that is there counts.
    pub role_annotations: Vec<String>,
    /// The role of service accounts without such an annotation.
    pub service_account_role: Option<String>,
    /// The role that is taken on with whatever was found, of another account for example.
    pub assume_role: Option<AssumeRole>,
}

/// A role that is taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// `arn:aws:iam::123456789012:role/name`.
    pub arn: String,
    /// What the role's owner asks for besides.
    pub external_id: Option<String>,
}

/// Those that other credential providers for ECR read.
const ROLE_ANNOTATIONS: [&str; 2] = ["eks.amazonaws.com/ecr-role-arn", "eks.amazonaws.com/role-arn"];

impl Settings {
    /// What the kubelet has to pass, if a pod is asked for. One entry of the kubelet's has one audience, so of two
    /// such identities the first decides.
    pub(crate) fn pod_token(&self) -> Option<PodToken> {
        let audience = self.identities.iter().find_map(|identity| match identity {
            Identity::ServiceAccount => Some("sts.amazonaws.com"),
            Identity::PodIdentity => Some("pods.eks.amazonaws.com"),
            _ => None,
        })?;
        let (audience, annotations) = (Some(audience.to_owned()), self.role_annotations.clone());
        Some(PodToken { audience, annotations, passed_on: false, needed: self.identities.len() == 1 })
    }

    pub(crate) fn read(keys: &mut ConfigKeys<'_>) -> Self {
        let given = keys.choices("identity", &Identity::NAMES);
        let region = keys.parsed("region", region).map(|region| region.value);
        let profile = keys.text("profile");
        let annotations = keys.list("roleAnnotations");
        let role = keys.parsed("serviceAccountRole", arn);
        // A profile that is named is meant, whatever else the node has.
        let usual = if profile.is_some() { vec![Identity::Profile] } else { Identity::OF_NODES.to_vec() };
        if let Some(given) = &given
            && given.contains(&Identity::ServiceAccount)
            && given.contains(&Identity::PodIdentity)
        {
            let needs = "one of service-account and pod-identity: they want tokens for different audiences";
            keys.refuse(keys.line, "identity", ValueProblem::Shape(needs));
        }
        let identities = given.unwrap_or(usual);
        let first_annotation = annotations.as_ref().and_then(|list| list.first());
        for (key, text, owner) in [
            ("profile", profile.as_ref(), Identity::Profile),
            ("roleAnnotations", first_annotation, Identity::ServiceAccount),
            ("serviceAccountRole", role.as_ref(), Identity::ServiceAccount),
        ] {
            refuse_without(keys, (key, text), owner, &identities);
        }
        let texts = |list: Vec<At<String>>| list.into_iter().map(|text| text.value).collect();
        Self {
            identities,
            region,
            profile: profile.map(|profile| profile.value),
            role_annotations: annotations.map_or_else(|| ROLE_ANNOTATIONS.map(Into::into).to_vec(), texts),
            service_account_role: role.map(|role| role.value),
            assume_role: assume_role(keys),
        }
    }
}

/// A key that would be without effect.
fn refuse_without(
    keys: &mut ConfigKeys<'_>,
    (key, text): (&str, Option<&At<String>>),
    owner: Identity,
    identities: &[Identity],
) {
    let Some(At { line, value }) = text.filter(|_| !identities.contains(&owner)) else { return };
    let why = format!("it goes with identity {:?}, which is not listed", owner.name());
    keys.refuse(*line, key, ValueProblem::Refused { given: value.clone(), why });
}

fn assume_role(keys: &mut ConfigKeys<'_>) -> Option<AssumeRole> {
    let arn = keys.parsed("assumeRole", arn);
    let external_id = keys.text("externalId");
    if let (None, Some(At { line, value })) = (&arn, &external_id) {
        let why = "it goes with assumeRole, which is not there".to_owned();
        keys.refuse(*line, "externalId", ValueProblem::Refused { given: value.clone(), why });
    }
    Some(AssumeRole { arn: arn?.value, external_id: external_id.map(|id| id.value) })
}

fn region(text: &str) -> Result<String, String> {
    if is_region(text) { Ok(text.to_owned()) } else { Err("write a region such as \"eu-west-1\"".to_owned()) }
}

/// `arn:<partition>:iam::<account>:role/<name>`.
pub(super) fn arn(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    let is_role = matches!(parts.as_slice(), ["arn", _, "iam", "", account, role]
        if account.bytes().all(|byte| byte.is_ascii_digit()) && role.starts_with("role/"));
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_role && is_plain && text.len() <= 2048 {
        Ok(text.to_owned())
    } else {
        Err("write a role such as \"arn:aws:iam::123456789012:role/NAME\"".to_owned())
    }
}
