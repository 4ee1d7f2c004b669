//! What the kubelet says of the entries of the device list. It names them in no order, and may name all of
//! a long list: each is noted in one place and counted later, in the order of the list.

/// The entries by their positions.
#[derive(Clone, Debug)]
pub(crate) struct Units(Vec<Unit>);

/// One entry, with its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Unavailable,
    Held(u32),
    Free(u32),
}

impl Units {
    /// So many entries, of which nothing is said yet.
    pub(crate) fn new(entries: usize) -> Units {
        Units(vec![Unit::Unavailable; entries])
    }

    /// The container has the unit at `position`, of `device`, in any case. Said before what is free.
    pub(crate) fn hold(&mut self, position: usize, device: usize) {
        self.note(position, device, Unit::Held);
    }

    /// The unit at `position`, of `device`, is free.
    pub(crate) fn free(&mut self, position: usize, device: usize) {
        self.note(position, device, Unit::Free);
    }

    fn note(&mut self, position: usize, device: usize, said: fn(u32) -> Unit) {
        let unit = self.0.get_mut(position).filter(|unit| **unit == Unit::Unavailable);
        if let (Some(unit), Ok(device)) = (unit, u32::try_from(device)) {
            *unit = said(device);
        }
    }

    /// The device of each entry that something was said of, and whether it is held.
    pub(super) fn known(&self) -> impl Iterator<Item = (usize, bool)> + '_ {
        self.0.iter().filter_map(|unit| match unit {
            Unit::Unavailable => None,
            Unit::Held(device) => Some((usize::try_from(*device).ok()?, true)),
            Unit::Free(device) => Some((usize::try_from(*device).ok()?, false)),
        })
    }

    /// The positions of the first free entries of each device, as many as `wanted` says by device.
    pub(super) fn first_free(&self, mut wanted: Vec<u32>) -> Vec<usize> {
        let mut positions = Vec::new();
        for (position, unit) in self.0.iter().enumerate() {
            let Unit::Free(device) = unit else { continue };
            let left = usize::try_from(*device).ok().and_then(|device| wanted.get_mut(device));
            if let Some(left) = left.filter(|left| **left > 0) {
                *left -= 1;
                positions.push(position);
            }
        }
        positions
    }
}
