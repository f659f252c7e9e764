//! Extracts pieces of a table's own SQL for use in triggers.

use super::names::literal;

/// Returns a column's default for use in an expression. In a default SQLite reads a bare or
/// double-quoted word as text, elsewhere as the name of a column.
pub(super) fn default_of(written: &str) -> String {
    let written = written.trim();
    let quoted = |quote: char| {
        let inner = written.strip_prefix(quote)?.strip_suffix(quote)?;
        let doubled = format!("{quote}{quote}");
        let single = inner.replace(&doubled, "");
        (!single.contains(quote)).then(|| inner.replace(&doubled, &quote.to_string()))
    };
    if let Some(text) = quoted('"') {
        return literal(&text);
    }

    let is_word = written
        .chars()
        .all(|char| char == '_' || char.is_alphanumeric())
        && !written.starts_with(|char: char| char.is_ascii_digit());
    let keywords = [
        "null",
        "true",
        "false",
        "current_time",
        "current_date",
        "current_timestamp",
    ];
    let is_keyword = keywords.iter().any(|it| written.eq_ignore_ascii_case(it));
    if is_word && !is_keyword {
        return literal(written);
    }

    format!("({written})")
}

/// Returns the condition of a partial index, from the statement that made it.
pub(super) fn condition_of(statement: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut word = None;
    for (at, char) in statement.char_indices() {
        if let Some(end) = quote {
            if char == end {
                quote = None;
            }
            continue;
        }
        if char == '_' || char.is_alphanumeric() {
            word = word.or(Some(at));
            continue;
        }

        let ended = word.take().filter(|_| depth == 0);
        if ended.is_some_and(|from| statement[from..at].eq_ignore_ascii_case("where")) {
            return Some(statement[at..].trim());
        }

        match char {
            '\'' | '"' | '`' => quote = Some(char),
            '[' => quote = Some(']'),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }

    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_means_what_it_means_in_its_column() {
        for (written, expected) in [
            ("none", "'none'"),
            ("\"it's\"", "'it''s'"),
            ("\"a\"\"b\"", "'a\"b'"),
            ("'x'", "('x')"),
            ("NULL", "(NULL)"),
            ("current_timestamp", "(current_timestamp)"),
            ("7", "(7)"),
            ("-7.5", "(-7.5)"),
            ("x'00'", "(x'00')"),
            ("lower(hex(randomblob(4)))", "(lower(hex(randomblob(4))))"),
        ] {
            assert_eq!(default_of(written), expected, "{written}");
        }
    }

    #[test]
    fn the_condition_of_a_partial_index_follows_its_columns() {
        for (statement, expected) in [
            ("CREATE UNIQUE INDEX u ON t(a)", None),
            ("CREATE UNIQUE INDEX \"where \" ON t(a)", None),
            ("CREATE INDEX u ON t(a) WHERE b IS NULL", Some("b IS NULL")),
            (
                "create index u on [where](`where`)\nwhere(a = ' where ')",
                Some("(a = ' where ')"),
            ),
        ] {
            assert_eq!(condition_of(statement), expected, "{statement}");
        }
    }
}
