//! The kubelet's rule for resource names, written from its source (`IsExtendedResourceName`) and apart
//! from the product's, which it is there to judge.

/// Whether a kubelet would take `name` for an extended resource.
pub(super) fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.") && is_qualified(&format!("requests.{name}"))
}

fn is_qualified(name: &str) -> bool {
    let parts: Vec<_> = name.split('/').collect();
    let [prefix, name] = parts[..] else { return false };
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let any = |b: u8| b.is_ascii_alphanumeric();
    let prefix_fits = prefix.len() <= 253
        && prefix
            .split('.')
            .all(|label| bounded(label, lower) && label.bytes().all(|b| lower(b) || b == b'-'));
    let name_fits = name.len() <= 63
        && bounded(name, any)
        && name.bytes().all(|b| any(b) || b == b'-' || b == b'_' || b == b'.');
    prefix_fits && name_fits
}

fn bounded(text: &str, edge: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| edge(*b)) && bytes.last().is_some_and(|b| edge(*b))
}
