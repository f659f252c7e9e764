//! Splits Rust source into words and signs, without comments and the insides of strings.

/// A word or a sign of the source.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Its line is marked as an exception.
    pub(crate) free: bool,
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let marked: Vec<bool> = text
        .lines()
        .map(|line| line.contains("// layers: "))
        .collect();
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let rest = &chars[at..];
        match rest[0] {
            '/' if rest.get(1) == Some(&'/') => {
                at += rest.iter().take_while(|c| **c != '\n').count()
            }
            '/' if rest.get(1) == Some(&'*') => {
                let mut depth = 0;
                while at < chars.len() {
                    match (chars[at], chars.get(at + 1)) {
                        ('/', Some('*')) => (depth, at) = (depth + 1, at + 1),
                        ('*', Some('/')) => (depth, at) = (depth - 1, at + 1),
                        _ => {}
                    }
                    at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            'r' | 'b' if raw_string(rest).is_some() => at += raw_string(rest).unwrap_or(1),
            '"' => at += string(rest),
            '\'' if rest.get(1) == Some(&'\\') => {
                at += 2 + rest[3..].iter().take_while(|c| **c != '\'').count() + 2
            }
            '\'' if rest.get(2) == Some(&'\'') => at += 3,
            first if first.is_alphanumeric() || first == '_' => {
                at += rest
                    .iter()
                    .take_while(|c| c.is_alphanumeric() || **c == '_')
                    .count();

                let text = chars[start..at].iter().collect();
                tokens.push(Token {
                    text,
                    line,
                    free: marked[line - 1],
                });
            }
            ':' if rest.get(1) == Some(&':') => {
                at += 2;
                tokens.push(Token {
                    text: "::".to_owned(),
                    line,
                    free: marked[line - 1],
                });
            }
            first => {
                at += 1;
                if !first.is_whitespace() {
                    tokens.push(Token {
                        text: first.to_string(),
                        line,
                        free: marked[line - 1],
                    });
                }
            }
        }

        line += chars[start..at.min(chars.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }

    tokens
}

/// Returns the length of a raw string that begins here.
fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'r')).count();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes;
    if !rest[..prefix].contains(&'r') || rest.get(open) != Some(&'"') {
        return None;
    }

    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let inside = rest[open + 1..]
        .windows(end.len())
        .position(|window| window == end)?;
    Some(open + 1 + inside + end.len())
}

/// Returns the length of the string that begins here.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}
