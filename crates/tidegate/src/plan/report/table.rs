//! A table of text: columns as wide as their widest cell, numbers to the right.

use std::fmt::Write;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// See the module. The last column is not filled up, so it may have colours.
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A title for each column; without any title there is no such row.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let titles: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let has_titles = titles.iter().any(|title| !title.is_empty());
        Self {
            columns: columns.iter().map(|(_, align)| *align).collect(),
            rows: if has_titles { vec![titles] } else { Vec::new() },
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// All rows, each indented by two.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                let is_last = column + 1 == row.len();
                let _ = match self.columns.get(column) {
                    Some(Align::Right) => write!(line, " {cell:>width$} "),
                    _ if is_last => write!(line, " {cell}"),
                    _ => write!(line, " {cell:<width$} "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right), ("", Align::Left)]);
        table.row(["ü".to_owned(), "12,000".to_owned(), "x".to_owned()]);
        table.row(["longer".to_owned(), "1".to_owned(), String::new()]);
        assert_eq!(
            table.render(),
            "  name         n\n  ü       12,000  x\n  longer       1\n"
        );
    }
}
