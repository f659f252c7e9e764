//! [`Output`]: what commands write to standard output.
//!
//! Colours are for a terminal, unless `NO_COLOR` is set or the terminal is `dumb`. Text that comes
//! from a node is written without its control characters, so that a name cannot move the cursor. A
//! reader that has gone ends the command without an error.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value as Json;

use super::ended::Failure;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Tables and sentences, for people.
    Table,
    /// One JSON object a line.
    Json,
}

/// Where and how a command writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) form: Form,
    pub(super) paint: Paint,
    /// Whether standard output is a terminal.
    pub(super) is_terminal: bool,
}

/// Whether words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Coloured,
}

/// The tone of a word: whether it is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    /// Beside the point.
    Faint,
}

/// A word of a table, with its tone.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: harmless(text.as_ref()),
            tone,
        }
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Tone::Plain)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl Output {
    pub(super) fn new(form: Form) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = if is_terminal && !set("NO_COLOR") && !is_dumb {
            Paint::Coloured
        } else {
            Paint::Plain
        };
        Self {
            form,
            paint,
            is_terminal,
        }
    }

    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self {
            form: Form::Table,
            paint: Paint::Plain,
            is_terminal: false,
        }
    }

    /// Writes text as it is.
    pub(super) fn write(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::unread(),
            _ => Failure::unreachable(format!("standard output: {error}")),
        })
    }

    /// Writes a JSON object on a line of its own.
    pub(super) fn json(self, object: &Json) -> Result<(), Failure> {
        self.write(&format!("{object}\n"))
    }
}

impl Paint {
    /// Returns a word in the colour of its tone.
    pub(super) fn word(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            _ if self == Self::Plain => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Formats rows below the names of their columns.
    pub(super) fn table(self, names: &[&str], rows: &[Vec<Cell>]) -> String {
        let head: Vec<_> = names
            .iter()
            .map(|name| Cell::new(name.to_uppercase(), Tone::Faint))
            .collect();
        let rows: Vec<_> = std::iter::once(&head).chain(rows).collect();
        let widths: Vec<usize> = (0..names.len())
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                cells.map(Cell::width).max().unwrap_or(0)
            })
            .collect();

        let lines = rows.into_iter().map(|row| self.line(row, &widths));
        lines.collect()
    }

    /// Formats pairs of a name and a value, one per line.
    pub(super) fn facts(self, facts: &[(&str, Vec<Cell>)]) -> String {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = facts.iter().map(|(name, cells)| {
            let name = self.word(&format!("{name:width$}"), Tone::Faint);
            let words = cells.iter().map(|cell| self.word(&cell.text, cell.tone));
            format!("{name}  {}\n", words.collect::<String>())
        });
        lines.collect()
    }

    fn line(self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            line.push_str(&self.word(&cell.text, cell.tone));
            if index + 1 < row.len() {
                let width = widths.get(index).copied().unwrap_or(0);
                let pad = width.saturating_sub(cell.width()) + 2;
                line.push_str(&" ".repeat(pad));
            }
        }
        line.push('\n');
        line
    }
}

/// Returns text with its control characters spelled out.
pub(super) fn harmless(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word() {
        let row = |a: &str, b: &str| vec![Cell::plain(a), Cell::new(b, Tone::Good)];
        let rows = [row("a", "live"), row("longer", "late")];
        let text = Paint::Plain.table(&["node", "state"], &rows);
        assert_eq!(text, "NODE    STATE\na       live\nlonger  late\n");
        let text = Paint::Coloured.table(&["node", "state"], &rows);
        assert!(text.contains("a       \x1b[32mlive\x1b[0m\n"), "{text:?}");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let cell = Cell::plain("bob\x1b[2J\n");
        let text = Paint::Plain.table(&["name"], &[vec![cell]]);
        assert_eq!(text, "NAME\nbob\\u{1b}[2J\\n\n");
    }
}
