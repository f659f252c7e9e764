//! How much memory values take, roughly.

use serde_json::Value as Json;

use super::Value;

/// What a member of a set takes besides its text: the `String`, and its part of a tree's node.
const MEMBER: usize = 32;

impl Value {
    /// Returns roughly how many bytes the value takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let heap = match self {
            Self::Null
            | Self::Boolean(_)
            | Self::Integer(_)
            | Self::Unsigned(_)
            | Self::Number(_)
            | Self::Uuid(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Set(members) => members.iter().map(|member| MEMBER + member.len()).sum(),
            Self::Json(json) => weight_of_json(json),
        };
        size_of::<Self>() + heap
    }
}

fn weight_of_json(json: &Json) -> usize {
    let own = size_of::<Json>();
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => own,
        Json::String(text) => own + text.len(),
        Json::Array(values) => own + values.iter().map(weight_of_json).sum::<usize>(),
        Json::Object(members) => {
            let weight = |(name, value): (&String, &Json)| name.len() + weight_of_json(value);
            own + members.iter().map(weight).sum::<usize>()
        }
    }
}
