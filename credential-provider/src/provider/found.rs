//! What comes of looking for an identity. One that is not there is passed over; one that fails is not.

use super::{FetchError, named};

/// What came of looking for an identity.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It is there, and this was had in its name.
    There(T),
    /// It is not, and why: nobody names it, or nobody is there to be asked.
    Absent(String),
}

impl<T> Found<T> {
    /// Whether it is there.
    pub(super) fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }
}

/// The first of those that `look` finds under the names `wanted`, which are some of `table`, and what was had.
pub(super) fn first<I: Copy, T>(
    table: &[(&'static str, I)],
    wanted: &[&'static str],
    look: impl Fn(I) -> Result<Found<T>, FetchError>,
) -> Result<(I, T), FetchError> {
    let mut absent = Vec::new();
    for name in wanted {
        let Some(identity) = named(table, name) else { continue };
        match look(identity)? {
            Found::There(had) => return Ok((identity, had)),
            Found::Absent(why) => absent.push(format!("{name} ({why})")),
        }
    }
    Err(FetchError::NoIdentity(format!("looked for {}", absent.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::{FetchError, Found, first};

    const TABLE: [(&str, u8); 2] = [("one", 1), ("two", 2)];

    #[test]
    fn the_first_that_is_there_counts_and_a_failure_ends_the_search() {
        let found = |there: u8| {
            first(&TABLE, &["two", "one"], |identity| {
                Ok(if identity == there { Found::There(identity) } else { Found::Absent("no".into()) })
            })
        };
        assert!(matches!(found(1), Ok((1, 1))) && matches!(found(2), Ok((2, 2))));
        let none = found(3).unwrap_err().to_string();
        assert_eq!(none, "there is no identity to ask with: looked for two (no), one (no)");
        let failed = first(&TABLE, &["two", "one"], |identity| match identity {
            2 => Err(FetchError::Identifier { name: "client id", value: "/".into(), why: String::new() }),
            _ => Ok(Found::There(())),
        });
        assert!(matches!(failed, Err(FetchError::Identifier { .. })));
    }
}
