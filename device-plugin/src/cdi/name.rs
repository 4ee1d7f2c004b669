//! Names in CDI: `example.com/gpu=GPU-8f3d`.

use crate::config::resource_name::ResourceName;
use crate::inventory::hash8;

/// Longest device name: an id of ours with a hash.
const MAX_NAME: usize = 63;

/// The kind under which devices of `resource` are described: its name, where that is a kind. CDI wants
/// vendor and class to begin with a letter, and its own validation falls over one of a single character.
pub fn kind(resource: &ResourceName) -> Option<&str> {
    let name = resource.as_str();
    let word = |text: &str| text.len() > 1 && text.starts_with(|c: char| c.is_ascii_alphabetic());
    let (vendor, class) = name.split_once('/')?;
    (word(vendor) && word(class)).then_some(name)
}

/// The device name for `id`: the id, where that is one.
pub fn device(id: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    let ends = |c: char| c.is_ascii_alphanumeric();
    if id.len() <= MAX_NAME && id.chars().all(legal) && id.starts_with(ends) && id.ends_with(ends) {
        return id.to_owned();
    }
    let kept: String = id.chars().map(|c| if legal(c) { c } else { '-' }).collect();
    let kept = kept.get(..MAX_NAME - 9).unwrap_or(&kept);
    format!("{}-{}", kept.trim_start_matches(|c| !ends(c)), hash8(id)).trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind_of(name: &str) -> Option<String> {
        kind(&ResourceName::parse(name).unwrap()).map(str::to_owned)
    }

    #[test]
    fn a_resource_name_that_cdi_takes_is_a_kind() {
        assert_eq!(kind_of("nvidia.com/mig-1g.10gb").as_deref(), Some("nvidia.com/mig-1g.10gb"));
        for name in ["example.com/3d", "3com.com/card", "a/gpu", "example.com/x"] {
            assert_eq!(kind_of(name), None, "{name}");
        }
    }

    #[test]
    fn an_id_that_is_no_device_name_becomes_one_of_its_own() {
        assert_eq!(device("0000:3b:00.0"), "0000:3b:00.0");
        assert_eq!(device("by-id-usb+x"), format!("by-id-usb-x-{}", hash8("by-id-usb+x")));
        assert_ne!(device("a+b"), device("a-b"));
    }

    proptest! {
        #[test]
        fn every_id_gets_a_legal_name(id in ".{1,80}") {
            let name = device(&id);
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME, "{name}");
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
            prop_assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c)), "{name}");
        }
    }
}
