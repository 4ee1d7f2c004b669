//! Chance, for message ids that nobody can guess and pauses that do not coincide.

/// Random bytes, or none if the kernel gives none.
pub(super) fn bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes)
}
