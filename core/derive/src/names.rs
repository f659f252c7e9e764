//! The rules of names; `check_all` has the same at run time.

/// Returns whether a text can be the name of an entity or a field.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}

/// Returns whether a text can be a segment of a path of the admin API.
pub(crate) fn is_path(path: &str) -> bool {
    !path.is_empty()
        && path
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
}
