//! What a field's type looks like. A macro cannot resolve aliases: they are [`Shape::Unknown`].

use syn::{GenericArgument, PathArguments, Type};

/// What the tokens of a type say about it.
pub(crate) enum Shape {
    /// `String`
    Text,
    /// `Uuid`
    Uuid,
    /// `Timestamp`, `TimestampMicros`
    Timestamp,
    /// `Ref<X>`, with `X`
    Ref(Box<Type>),
    /// A type that is certainly none of the above.
    Other,
    /// A type that only the compiler can resolve.
    Unknown,
}

/// A type without its `Option`.
pub(crate) struct FieldType {
    /// Whether it is an `Option`.
    pub(crate) optional: bool,
    /// Whether it is an `Option` of an `Option`.
    pub(crate) twice_optional: bool,
    /// What is inside.
    pub(crate) shape: Shape,
}

impl FieldType {
    pub(crate) fn of(ty: &Type) -> Self {
        let inner = argument(ty, "Option");
        Self {
            optional: inner.is_some(),
            twice_optional: inner.is_some_and(|inner| argument(inner, "Option").is_some()),
            shape: shape(inner.unwrap_or(ty)),
        }
    }
}

fn shape(ty: &Type) -> Shape {
    if let Some(target) = argument(ty, "Ref") {
        return Shape::Ref(Box::new(target.clone()));
    }

    match last_word(ty).as_deref() {
        Some("String") => Shape::Text,
        Some("Uuid") => Shape::Uuid,
        Some("Timestamp" | "TimestampMicros") => Shape::Timestamp,
        Some(
            "bool" | "i64" | "i32" | "u32" | "u64" | "f64" | "f32" | "BTreeSet" | "Vec"
            | "BTreeMap" | "HashMap" | "Json" | "Option",
        ) => Shape::Other,
        _ => Shape::Unknown,
    }
}

/// Returns the `X` of `path::to::Name<X>`.
fn argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = plain(ty) else {
        return None;
    };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };

    match arguments.args.iter().collect::<Vec<_>>()[..] {
        [GenericArgument::Type(argument)] if last.ident == name => Some(argument),
        _ => None,
    }
}

fn last_word(ty: &Type) -> Option<String> {
    match plain(ty) {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

/// Returns the type without parentheses and without the invisible group around one that a macro
/// passed on.
fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        ty => ty,
    }
}
