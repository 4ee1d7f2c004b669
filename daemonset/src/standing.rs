//! Findings that last from one look to the next, so that each is told when it comes and when it goes. Pure.

/// What was found at the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<T>(Vec<T>);

/// What is different from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    /// Found now and not before.
    pub come: Vec<T>,
    /// Found before and not now.
    pub gone: Vec<T>,
}

impl<T> Default for Standing<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone + PartialEq> Standing<T> {
    /// What was found.
    pub fn found(&self) -> &[T] {
        &self.0
    }

    /// Takes over what was found `now`.
    pub fn replace(&mut self, now: Vec<T>) -> Difference<T> {
        let missing = |all: &[T], from: &[T]| all.iter().filter(|one| !from.contains(one)).cloned().collect();
        let difference = Difference { come: missing(&now, &self.0), gone: missing(&self.0, &now) };
        self.0 = now;
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_comes_once_and_goes_once() {
        let mut standing = Standing::default();
        let mut look = |now: &[u8]| {
            let Difference { come, gone } = standing.replace(now.to_vec());
            (come, gone)
        };
        assert_eq!(look(&[]), (vec![], vec![]));
        assert_eq!(look(&[1, 2]), (vec![1, 2], vec![]));
        assert_eq!(look(&[2, 1]), (vec![], vec![]));
        assert_eq!(look(&[2, 3]), (vec![3], vec![1]));
        assert_eq!(look(&[1]), (vec![1], vec![2, 3]));
    }
}
