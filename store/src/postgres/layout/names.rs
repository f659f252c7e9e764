//! Quotes names and texts for statements, and names indexes.

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST: usize = 63;

/// Returns a name as a quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns text as a literal that does not depend on the server's rule for backslashes.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Returns the name of an index, which says its purpose. A name that PostgreSQL would cut off is
/// shortened, and ends in a digest of the whole name.
pub(crate) fn index_name(purpose: &str, table: &str, fields: &[&str]) -> String {
    let name = format!("{purpose}:{table}({})", fields.join(","));
    if name.len() <= LONGEST {
        return name;
    }

    // FNV-1a: the same in every program and version.
    let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let digest = format!("#{digest:016x}");
    // Names of entities and fields are ASCII.
    let start: String = name.chars().take(LONGEST - digest.len()).collect();
    start + &digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_indexes_are_kept_whole_and_apart() {
        let short = index_name("unique", "acls", &["consumer", "group"]);
        assert_eq!(short, "unique:acls(consumer,group)");

        let (one, other) = ("a".repeat(60) + "b", "a".repeat(60) + "c");
        let (one, other) = ([one.as_str()], [other.as_str()]);
        let names = [one, other].map(|fields| index_name("unique", "acls", &fields));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() == LONGEST), "{names:?}");
    }
}
