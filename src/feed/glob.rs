//! [`Glob`]: names with `*` for any text and `?` for any one character.

/// A pattern of names: `*` is any text, an empty one too, and `?` any one character.
///
/// # Examples
///
/// ```
/// use tidings::Glob;
///
/// let changes = Glob::new("consumers:*");
/// assert!(changes.matches("consumers:update") && !changes.matches("consumers"));
/// assert!(Glob::any().matches(""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<char>);

impl Glob {
    /// Reads a pattern. Every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut read: Vec<char> = pattern.chars().collect();
        // Adjacent stars mean the same as one, and would only add steps to a match.
        read.dedup_by(|one, before| *one == '*' && *before == '*');
        Self(read)
    }

    /// Returns the pattern of all names.
    #[must_use]
    pub fn any() -> Self {
        Self::new("*")
    }

    /// Returns whether a name fits. Takes at most as many steps as the name and the pattern have
    /// characters, multiplied.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (_, Vec<char>) = (&self.0, name.chars().collect());
        let (mut at, mut read) = (0, 0);

        // The last star, and the end of the text that it has taken so far.
        let mut star: Option<(usize, usize)> = None;
        while read < name.len() {
            match (pattern.get(at), star) {
                (Some('*'), _) => {
                    star = Some((at, read));
                    at += 1;
                }
                (Some(expected), _) if *expected == '?' || *expected == name[read] => {
                    at += 1;
                    read += 1;
                }
                (_, Some((of, taken))) => {
                    star = Some((of, taken + 1));
                    at = of + 1;
                    read = taken + 1;
                }
                (_, None) => return false,
            }
        }

        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names() {
        let fits = |pattern: &str, name: &str| Glob::new(pattern).matches(name);
        assert!(fits("crud", "crud") && !fits("crud", "cruds") && !fits("crud", "cru"));
        assert!(fits("c*d", "crud") && fits("c*d", "cd") && !fits("c*d", "crude"));
        assert!(fits("c??d", "crud") && !fits("c?d", "crud"));
        assert!(fits("*:up*te", "consumers:update") && fits("**", "") && !fits("", "a"));
        assert!(fits("*ab*ab", "abcabcab") && !fits("*ab*abb", "abcabcab"));
        assert!(fits("??", "éß"));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(1_000);
        assert!(!Glob::new(&pattern).matches(&"b".repeat(1_000)));
        assert!(!Glob::new(&(pattern + "b")).matches(&"a".repeat(999)));
    }
}
