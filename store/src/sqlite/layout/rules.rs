//! The rules of a table that only its CREATE statement shows.

/// Returns the rules in a table's CREATE statement that no pragma reports.
pub(super) fn rules(made: &str) -> Vec<String> {
    let words = words(made);
    let has = |word: &str| words.iter().any(|it| it == word);
    let mut pairs = words.windows(2);
    let rules = [
        ("CHECK", has("CHECK")),
        ("COLLATE", has("COLLATE")),
        ("AUTOINCREMENT", has("AUTOINCREMENT")),
        (
            "ON CONFLICT",
            pairs.clone().any(|pair| pair == ["ON", "CONFLICT"]),
        ),
        (
            "DEFERRABLE",
            pairs.any(|pair| pair[0] != "NOT" && pair[1] == "DEFERRABLE"),
        ),
    ];
    let rules = rules.into_iter().filter(|(_, is_there)| *is_there);
    rules
        .map(|(rule, _)| format!("a rule of its own ({rule})"))
        .collect()
}

/// Returns the words of a statement in capitals, without comments, quoted names and texts.
pub(super) fn words(sql: &str) -> Vec<String> {
    let bare = bare(sql).to_ascii_uppercase();
    bare.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns a statement without its comments, quoted names and texts.
fn bare(sql: &str) -> String {
    const ASIDE: [(&str, &str); 6] = [
        ("'", "'"),
        ("\"", "\""),
        ("`", "`"),
        ("[", "]"),
        ("--", "\n"),
        ("/*", "*/"),
    ];

    let (mut bare, mut rest) = (String::new(), sql);
    while !rest.is_empty() {
        let aside = ASIDE
            .iter()
            .find_map(|(start, end)| Some((rest.strip_prefix(start)?, *end)));

        if let Some((inside, end)) = aside {
            bare.push(' ');
            rest = inside.split_once(end).map_or("", |(_, after)| after);
        } else {
            let mut letters = rest.chars();
            bare.extend(letters.next());
            rest = letters.as_str();
        }
    }

    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_where_they_are_no_names_and_no_texts() {
        let made = "CREATE TABLE t (a TEXT DEFAULT 'CHECK it''s', \"collate\" INTEGER) STRICT";
        assert_eq!(rules(made), [""; 0]);
        let made = "create table t (a text check (a <> ''), b text collate nocase)";
        assert_eq!(
            rules(made),
            ["a rule of its own (CHECK)", "a rule of its own (COLLATE)"]
        );
    }
}
