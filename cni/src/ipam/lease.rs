//! The text of a lease, as host-local writes it: `containerID CRLF ifname`; before host-local knew
//! interfaces, the container id alone. Pure.

/// Whom a lease belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `CNI_CONTAINERID`.
    pub container_id: &'a str,
    /// `CNI_IFNAME`.
    pub ifname: &'a str,
}

/// Who has an address, as its lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The container.
    pub container_id: String,
    /// Its interface; absent in a lease of host-local's older format.
    pub ifname: Option<String>,
}

impl Owner<'_> {
    pub(super) fn render(&self) -> String {
        format!("{}\r\n{}", self.container_id, self.ifname)
    }

    /// Whether this is `holder`, or may be it where the lease names no interface.
    pub(crate) fn is(&self, holder: &Holder) -> bool {
        holder.container_id == self.container_id
            && holder.ifname.as_deref().is_none_or(|ifname| ifname == self.ifname)
    }
}

impl Holder {
    /// Reads a lease. None for one that names nobody: a power loss leaves files without content.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.trim().lines().map(str::trim);
        let container_id = lines.next().filter(|id| !id.is_empty())?.to_owned();
        Some(Self { container_id, ifname: lines.next().map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_reads_back_in_every_format() {
        let owner = Owner { container_id: "c1", ifname: "eth0" };
        let new = Holder::parse(owner.render().as_bytes()).unwrap();
        assert_eq!(new.ifname.as_deref(), Some("eth0"));
        let old = Holder::parse(b"c1\n").unwrap();
        assert!(owner.is(&new) && owner.is(&old));
        assert!(!Owner { container_id: "c1", ifname: "eth1" }.is(&new));
        assert!(!Owner { container_id: "c2", ifname: "eth0" }.is(&old));
        for nobody in [b"".as_slice(), b"\r\n", b"  "] {
            assert_eq!(Holder::parse(nobody), None);
        }
    }
}
