//! Which devices of a kind a resource means.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use glob::{MatchOptions, Pattern as Glob};

/// Longest value of a criterion, in bytes.
const MAX_LENGTH: usize = 256;
/// Names such as `NVIDIA H200` are written in every way.
const LENIENT: MatchOptions = MatchOptions {
    case_sensitive: false,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// What a criterion looks at: a key of `match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// PCI or USB vendor id, four hexadecimal digits.
    Vendor,
    /// PCI device id, four hexadecimal digits.
    Device,
    /// USB product id, four hexadecimal digits.
    Product,
    /// Serial number.
    Serial,
    /// Name of the kernel driver that the device is bound to.
    Driver,
    /// PCI address, `0000:3b:00.1`.
    Address,
    /// Interface of a network card, `eth0`; of a virtual function that of its physical function and its
    /// number, `eth0#3`.
    PfName,
    /// `ethernet` or `infiniband`.
    LinkType,
    /// Product name.
    Model,
    /// UUID, of a GPU or of an accelerator's function.
    Uuid,
    /// What a GPU is cut into: `1g.10gb`, `cpx_nps4`; of one that is not cut `full`.
    Profile,
    /// `af` for accelerator functions, `region` for the regions they are programmed into.
    Mode,
    /// `true` where the function has RDMA devices.
    Rdma,
}

/// What a scan knows of a device that criteria can look at.
pub type Properties = BTreeMap<Property, String>;

/// All of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria(pub BTreeMap<Property, Vec<Pattern>>);

/// One accepted value, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Four hexadecimal digits.
    Id(u16),
    /// A text with `*`, `?` and `[…]`.
    Text(Glob),
    /// Virtual functions of a physical function, by their numbers.
    Functions {
        /// The physical function's interface.
        pf: Glob,
        /// Their numbers.
        numbers: Vec<RangeInclusive<u16>>,
    },
}

/// Why a text is no accepted value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is empty or over-long.
    #[error("must have 1 to {MAX_LENGTH} characters")]
    Length,
    /// It is no id.
    #[error("is no id of four hexadecimal digits")]
    Id,
    /// It is a malformed glob.
    #[error("is a malformed glob: {0}")]
    Glob(&'static str),
    /// What follows `#` is no list of numbers.
    #[error("has no list of virtual functions such as 0-3,7 after `#`")]
    Functions,
}

impl Property {
    /// All of them.
    pub const ALL: [Property; 13] = [
        Property::Vendor,
        Property::Device,
        Property::Product,
        Property::Serial,
        Property::Driver,
        Property::Address,
        Property::PfName,
        Property::LinkType,
        Property::Model,
        Property::Uuid,
        Property::Profile,
        Property::Mode,
        Property::Rdma,
    ];

    /// Its key in `match`.
    pub fn key(self) -> &'static str {
        match self {
            Property::Vendor => "vendor",
            Property::Device => "device",
            Property::Product => "product",
            Property::Serial => "serial",
            Property::Driver => "driver",
            Property::Address => "address",
            Property::PfName => "pfName",
            Property::LinkType => "linkType",
            Property::Model => "model",
            Property::Uuid => "uuid",
            Property::Profile => "profile",
            Property::Mode => "mode",
            Property::Rdma => "rdma",
        }
    }

    /// A value that it may be compared with.
    pub fn example(self) -> &'static str {
        match self {
            Property::Vendor | Property::Device | Property::Product => "\"8086\"",
            Property::Serial => "A50285BI",
            Property::Driver => "vfio-pci",
            Property::Address => "\"0000:3b:*\"",
            Property::PfName => "eth0#0-3,7",
            Property::LinkType => "ethernet",
            Property::Model => "*H200*",
            Property::Uuid => "GPU-8f3d*",
            Property::Profile => "1g.10gb",
            Property::Mode => "af",
            Property::Rdma => "true",
        }
    }

    /// Reads a value that this property is compared with.
    pub fn pattern(self, text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(PatternError::Length);
        }
        match self {
            Property::Vendor | Property::Device | Property::Product => id(text),
            Property::PfName if text.contains('#') => functions(text),
            _ => Ok(Pattern::Text(glob(text)?)),
        }
    }
}

impl Criteria {
    /// Whether a device with these properties is meant. A property that is not known meets nothing.
    pub fn admit(&self, properties: &Properties) -> bool {
        self.0.iter().all(|(property, accepted)| {
            let value = properties.get(property);
            value.is_some_and(|value| accepted.iter().any(|pattern| pattern.matches(value)))
        })
    }
}

impl Criteria {
    /// Whether only functions with RDMA devices are meant.
    pub fn wants_rdma(&self) -> bool {
        let accepted = self.0.get(&Property::Rdma);
        accepted.is_some_and(|accepted| accepted.iter().any(|pattern| pattern.matches("true")))
    }
}

impl Pattern {
    fn matches(&self, value: &str) -> bool {
        match self {
            Pattern::Id(id) => u16::from_str_radix(value, 16) == Ok(*id),
            // The physical function's name means all of its virtual ones too.
            Pattern::Text(glob) => {
                glob.matches_with(value, LENIENT)
                    || value.split_once('#').is_some_and(|(pf, _)| glob.matches_with(pf, LENIENT))
            }
            Pattern::Functions { pf, numbers } => value.split_once('#').is_some_and(|(name, number)| {
                let number = number.parse().ok();
                pf.matches_with(name, LENIENT)
                    && number.is_some_and(|number: u16| numbers.iter().any(|range| range.contains(&number)))
            }),
        }
    }
}

fn id(text: &str) -> Result<Pattern, PatternError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let all_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u16::from_str_radix(digits, 16).ok().filter(|_| all_hex);
    id.map(Pattern::Id).ok_or(PatternError::Id)
}

fn glob(text: &str) -> Result<Glob, PatternError> {
    Glob::new(text).map_err(|error| PatternError::Glob(error.msg))
}

fn functions(text: &str) -> Result<Pattern, PatternError> {
    let (pf, list) = text.split_once('#').ok_or(PatternError::Functions)?;
    let numbers: Option<Vec<_>> = list.split(',').map(range).collect();
    Ok(Pattern::Functions { pf: glob(pf)?, numbers: numbers.ok_or(PatternError::Functions)? })
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(criteria: &[(Property, &[&str])], properties: &[(Property, &str)]) -> bool {
        let patterns = |(property, texts): &(Property, &[&str])| {
            (*property, texts.iter().map(|text| property.pattern(text).unwrap()).collect())
        };
        let criteria = Criteria(criteria.iter().map(patterns).collect());
        criteria.admit(&properties.iter().map(|(property, value)| (*property, (*value).to_owned())).collect())
    }

    #[test]
    fn every_criterion_must_hold_by_one_of_its_values() {
        use Property::{Device, Model, Vendor};
        let card = [(Vendor, "8086"), (Device, "1572"), (Model, "Ethernet X710")];
        assert!(admits(&[], &card));
        assert!(admits(&[(Vendor, &["15b3", "0x8086"])], &card));
        assert!(admits(&[(Vendor, &["8086"]), (Model, &["ethernet*"])], &card));
        assert!(!admits(&[(Vendor, &["8086"]), (Device, &["154c"])], &card));
        assert!(!admits(&[(Property::Uuid, &["*"])], &card));
    }

    #[test]
    fn virtual_functions_go_by_number_and_by_their_physical_function() {
        let function = [(Property::PfName, "eth0#3")];
        for (pattern, expected) in
            [("eth0", true), ("eth*", true), ("eth1", false), ("eth0#0-3,7", true), ("eth0#0-2,7", false)]
        {
            assert_eq!(admits(&[(Property::PfName, &[pattern])], &function), expected, "{pattern}");
        }
        assert!(!admits(&[(Property::PfName, &["eth0#0"])], &[(Property::PfName, "eth0")]));
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_reason() {
        use PatternError::{Functions, Glob, Id, Length};
        let error = |property: Property, text: &str| property.pattern(text).unwrap_err();
        assert_eq!(error(Property::Vendor, "808"), Id);
        assert_eq!(error(Property::Vendor, "+086"), Id);
        assert_eq!(error(Property::Serial, ""), Length);
        assert!(matches!(error(Property::Model, "[x"), Glob(_)));
        for list in ["eth0#", "eth0#3-1", "eth0#a", "eth0#1,,2", "eth0#70000"] {
            assert_eq!(error(Property::PfName, list), Functions, "{list}");
        }
    }
}
