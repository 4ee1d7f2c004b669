//! As much of HPACK as it takes to find a field in a block of headers.

/// The static table's entry for the name `:authority`.
const AUTHORITY: usize = 1;

/// Where a string lies in a header block: its length is told from `prefix` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) prefix: usize,
    pub(super) begin: usize,
    pub(super) end: usize,
}

/// The value of the first literal field named `:authority` by the static table.
pub(super) fn authority(block: &[u8]) -> Option<Value> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        // Which kind of field this is, and how many bits of the byte are left for the index.
        let (bits, has_value) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let (index, mut next) = integer(block, at, bits)?;
        if has_value {
            if index == 0 {
                next = string(block, next)?.end;
            }
            let value = string(block, next)?;
            if index == AUTHORITY {
                return Some(value);
            }
            next = value.end;
        }
        at = next;
    }
    None
}

fn string(block: &[u8], prefix: usize) -> Option<Value> {
    let (length, begin) = integer(block, prefix, 7)?;
    let end = begin.checked_add(length)?;
    (end <= block.len()).then_some(Value { prefix, begin, end })
}

/// An integer that begins in the low `bits` of the byte at `at`, and where the next thing begins.
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut next = at + 1;
    if value < most {
        return Some((value, next));
    }
    // Three more bytes tell of more than a frame can hold.
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(next)?);
        next += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, next));
        }
    }
    None
}
