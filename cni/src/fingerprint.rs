//! Short numbers that stand for long things in names and marks. Releases must agree on them: what one made
//! another takes away.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// Differs where `parts` do, their borders included. Nobody who could choose them to collide could not do
/// worse; a hash that resists that asks the processor what it can do, which takes a virtual machine as long
/// as two system calls.
pub(crate) fn of(parts: &[&[u8]]) -> u64 {
    let mut hash = SipHasher24::new();
    for part in parts {
        hash.write(&part.len().to_le_bytes());
        hash.write(part);
    }
    hash.finish()
}

/// The same as sixteen hexadecimal digits.
pub(crate) fn digits(parts: &[&[u8]]) -> String {
    format!("{:016x}", of(parts))
}
