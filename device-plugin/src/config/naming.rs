//! Resource names that follow from a device: `nvidia.com/mig-{profile}` offers each profile a card is cut
//! into under a name of its own.

use std::fmt;

use super::criteria::{Properties, Property};
use super::resource_name::{ResourceName, ResourceNameError};
use crate::device::Kind;

/// What the devices of an entry of the config are offered as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// One name for all.
    Fixed(ResourceName),
    /// A name for each value of the properties in it.
    Template(Template),
}

/// A resource name with properties in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Value(Property),
}

/// Why a text is no name and no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// What it would become is no resource name.
    #[error(transparent)]
    Name(#[from] ResourceNameError),
    /// A brace has no partner.
    #[error("has a brace without its partner")]
    Brace,
    /// The domain follows from a device.
    #[error("has braces before the slash: the domain must be the same for all devices")]
    Domain,
    /// What is in braces is no property of the kind.
    #[error("has {{{0}}}, which devices of this kind do not have")]
    Property(String),
}

impl Naming {
    /// Reads `text` as the name of devices of `kind`.
    pub fn parse(text: &str, kind: Kind) -> Result<Naming, NamingError> {
        if !text.contains(['{', '}']) {
            return Ok(Naming::Fixed(ResourceName::parse(text)?));
        }
        let template = Template { text: text.to_owned(), pieces: pieces(text, kind)? };
        ResourceName::parse(&template.fill(|_| Some("x".to_owned())).unwrap_or_default())?;
        Ok(Naming::Template(template))
    }

    /// The name of a device with these `properties`, or what keeps it from having one.
    pub fn name(&self, properties: &Properties) -> Result<ResourceName, String> {
        let template = match self {
            Naming::Fixed(name) => return Ok(name.clone()),
            Naming::Template(template) => template,
        };
        let text = template.fill(|property| properties.get(&property).map(String::as_str).map(label));
        let text = text.map_err(|property| format!("its {} is not known", property.key()))?;
        ResourceName::parse(&text).map_err(|error| format!("{text:?} {error}"))
    }
}

impl Template {
    /// The text with each property replaced by its `value`; else the one that has none.
    fn fill(&self, value: impl Fn(Property) -> Option<String>) -> Result<String, Property> {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => Ok(text.clone()),
            Piece::Value(property) => value(*property).ok_or(*property),
        };
        self.pieces.iter().map(piece).collect()
    }
}

fn pieces(text: &str, kind: Kind) -> Result<Vec<Piece>, NamingError> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((literal, tail)) = rest.split_once('{') {
        let (key, tail) = tail.split_once('}').ok_or(NamingError::Brace)?;
        let known = kind.properties().iter().find(|property| property.key() == key);
        let property = *known.ok_or_else(|| NamingError::Property(key.to_owned()))?;
        pieces.extend([Piece::Literal(literal.to_owned()), Piece::Value(property)]);
        rest = tail;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    let literal = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains('}'));
    if pieces.iter().any(literal) {
        return Err(NamingError::Brace);
    }
    let domain_first = matches!(pieces.first(), Some(Piece::Literal(text)) if text.contains('/'));
    if domain_first { Ok(pieces) } else { Err(NamingError::Domain) }
}

/// `NVIDIA H200 (80 GB)` becomes `NVIDIA-H200-80-GB`.
fn label(value: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let words: Vec<_> = value.split(|c| !keep(c)).filter(|word| !word.is_empty()).collect();
    words.join("-")
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Naming::Fixed(name) => name.fmt(f),
            Naming::Template(template) => f.write_str(&template.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, model: Option<&str>) -> Result<String, String> {
        let naming = Naming::parse(text, Kind::Nvidia).map_err(|error| error.to_string())?;
        let model = model.map(|model| (Property::Model, model.to_owned()));
        naming.name(&model.into_iter().collect()).map(|name| name.to_string())
    }

    #[test]
    fn a_name_follows_from_a_device() {
        for (text, model, expected) in [
            ("nvidia.com/gpu", None, "nvidia.com/gpu"),
            ("nvidia.com/{model}", Some("NVIDIA H200 (80 GB)"), "nvidia.com/NVIDIA-H200-80-GB"),
            ("nvidia.com/mig-{model}.shared", Some("1g.10gb"), "nvidia.com/mig-1g.10gb.shared"),
        ] {
            assert_eq!(named(text, model).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_the_reason() {
        for (text, model, expected) in [
            ("gpu", None, "must have the form <domain>/<name>"),
            ("nvidia.com/{model", None, "has a brace without its partner"),
            ("nvidia.com/model}", None, "has a brace without its partner"),
            ("nvidia.com/{{model}}", None, "has {{model}, which devices of this kind do not have"),
            ("{model}/gpu", None, "has braces before the slash: the domain must be the same for all devices"),
            ("nvidia.com/{pfName}", None, "has {pfName}, which devices of this kind do not have"),
            ("nvidia.com/{model}", None, "its model is not known"),
        ] {
            assert_eq!(named(text, model), Err(expected.to_owned()), "{text}");
        }
        let long = named("nvidia.com/{model}", Some(&"x".repeat(64))).unwrap_err();
        assert!(long.contains("has a name that is not 1 to 63"), "{long}");
    }
}
