//! JSON from outside: objects only, and mistakes told by place, because the text around them may be secret.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use thiserror::Error;

/// A mistake in a JSON document, without the piece of it that `serde_json` would repeat.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{problem} at line {line} column {column}")]
pub struct JsonError {
    problem: &'static str,
    line: usize,
    column: usize,
}

/// A `T` written as a JSON object. Derived types take a list of their fields' values as well, which no
/// format here means.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

/// Reads one JSON object and nothing after it.
pub(crate) fn parse_object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, JsonError> {
    let Object(parsed) = serde_json::from_slice(bytes).map_err(|error| JsonError::of(&error))?;
    Ok(parsed)
}

impl JsonError {
    fn of(error: &serde_json::Error) -> Self {
        let problem = match error.classify() {
            serde_json::error::Category::Syntax => "invalid JSON",
            serde_json::error::Category::Eof => "the JSON ends too early",
            serde_json::error::Category::Data => "a value of the wrong type, or a key that stands twice,",
            serde_json::error::Category::Io => "a failure to read",
        };
        Self { problem, line: error.line(), column: error.column() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}
