//! What is known of a GPU, whoever told it.

use std::collections::BTreeMap;

/// A physical GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    /// `GPU-8f3d…`, unless nobody could tell.
    pub(super) uuid: Option<String>,
    pub(super) model: String,
    /// `0000:3b:00.0`.
    pub(super) address: Option<String>,
    /// PCI device id, four hexadecimal digits.
    pub(super) device: Option<String>,
    /// Number of its node.
    pub(super) minor: u32,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// In MIG mode its parts.
    pub(super) parts: Option<Vec<Part>>,
    /// By the UUIDs of other GPUs, how well it is linked to them.
    pub(super) links: BTreeMap<String, u32>,
    /// What the driver says is wrong with it.
    pub(super) trouble: Option<String>,
    /// Whether the driver can tell that nothing need be done about it any more.
    pub(super) tells_recovery: bool,
}

/// A part of a GPU in MIG mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// `MIG-41b2…`.
    pub(super) uuid: String,
    /// `1g.10gb`.
    pub(super) profile: String,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// Numbers of its GPU instance and of the compute instance in that.
    pub(super) instance: (u32, u32),
}

impl Card {
    /// What stays the same over reboots.
    pub(super) fn id(&self) -> &str {
        self.uuid.as_deref().or(self.address.as_deref()).unwrap_or("unknown")
    }
}

/// NVML writes `00000000:3B:00.0` where the kernel writes `0000:3b:00.0`.
pub(super) fn address(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (domain, rest) = lower.split_once(':')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    Some(format!("{domain:04x}:{rest}"))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        assert_eq!(address("00000000:3B:00.0").as_deref(), Some("0000:3b:00.0"));
        assert_eq!(address("00010000:07:00.0").as_deref(), Some("10000:07:00.0"));
        assert_eq!(address("nonsense"), None);
    }
}
