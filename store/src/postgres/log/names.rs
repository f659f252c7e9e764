//! Quotes names and texts for statements.

/// Returns a name as a quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns text as a literal that does not depend on `standard_conforming_strings`.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Returns the name of an entity's function, within PostgreSQL's limit on the length of names.
pub(super) fn function(entity: &str, event: &str) -> String {
    const KEPT: usize = 32;
    if entity.len() <= 40 {
        return format!("{entity}_{event}");
    }

    let start: String = entity.chars().take(KEPT).collect();
    let digest = entity
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{start}_{digest:016x}_{event}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions_are_short_and_apart() {
        let (one, other) = ("a".repeat(62) + "b", "a".repeat(62) + "c");
        assert_ne!(function(&one, "update_row"), function(&other, "update_row"));
        assert!(function(&one, "truncate").len() <= 63);
        assert_eq!(function("acls", "insert"), "acls_insert");
    }

    #[test]
    fn literals_are_read_alike_under_both_rules_for_backslashes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
