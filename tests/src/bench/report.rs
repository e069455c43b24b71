//! Tables for a person at a terminal, and the same as JSON for whoever compares two runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// All tables of one bench.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    folder: PathBuf,
    tables: Vec<Value>,
}

impl Report {
    /// An empty report; `cargo xtask bench` says in which folder it is to be written.
    pub fn new(name: &'static str, folder: PathBuf) -> Self {
        Self { name, folder, tables: Vec::new() }
    }

    /// Prints a table and keeps it.
    pub fn add(&mut self, table: &Table) {
        println!("\n{}", table.print());
        self.tables.push(table.json());
    }

    /// Writes what was kept, with the machine that it was measured on.
    pub fn write(self) -> Result<()> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor =
            processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let report = json!({
            "bench": self.name,
            "kernel": read("/proc/sys/kernel/osrelease").trim(),
            "processor": processor.trim_start_matches([' ', '\t', ':']),
            "tables": self.tables,
        });
        let path = self.folder.join(format!("{}.json", self.name));
        fs::create_dir_all(&self.folder)?;
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

/// One thing in a table.
#[derive(Debug, Clone)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A figure, and how many of its decimals mean anything.
    Figure(f64, usize),
    /// What several rounds came to.
    Spread {
        /// The median.
        middle: f64,
        /// The best round.
        best: f64,
        /// How many decimals mean anything.
        decimals: usize,
    },
    /// Not measured, and why.
    Missing(&'static str),
}

impl Cell {
    /// It, as a person reads it.
    pub fn print(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Figure(figure, decimals) => format!("{figure:.decimals$}"),
            Self::Spread { middle, best, decimals } => format!("{middle:.decimals$} ({best:.decimals$})"),
            Self::Missing(why) => (*why).to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Figure(figure, _) => json!(figure),
            Self::Spread { middle, best, .. } => json!({ "median": middle, "best": best }),
            Self::Missing(why) => json!({ "missing": why }),
        }
    }
}

/// Rows under heads.
#[derive(Debug)]
pub struct Table {
    title: String,
    note: &'static str,
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table; the note says what is measured and how.
    pub fn new(title: &str, note: &'static str, heads: &[&'static str]) -> Self {
        Self { title: title.to_owned(), note, heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each head.
    ///
    /// # Panics
    /// When there are fewer or more.
    pub fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.heads.len(), "a cell for each head of {}", self.title);
        self.rows.push(cells);
    }

    fn print(&self) -> String {
        let mut lines = vec![self.heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>()];
        lines.extend(self.rows.iter().map(|row| row.iter().map(Cell::print).collect()));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..self.heads.len()).map(width).collect();
        let mut text = format!("{}\n{}\n", self.title, self.note);
        for (number, line) in lines.iter().enumerate() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let is_text =
                    column == 0 || number > 0 && matches!(self.rows[number - 1][column], Cell::Text(_));
                let padded = if is_text { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") };
                text.push_str(&padded);
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    fn json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let fields = self.heads.iter().zip(row).map(|(head, cell)| ((*head).to_owned(), cell.json()));
            Value::Object(fields.collect::<Map<_, _>>())
        };
        json!({
            "title": self.title,
            "note": self.note,
            "rows": self.rows.iter().map(object).collect::<Vec<_>>(),
        })
    }
}

/// A count as people say it: `100 k`, `5 M`.
pub fn count(count: usize) -> String {
    match count {
        count if count >= 1_000_000 && count % 1_000_000 == 0 => format!("{} M", count / 1_000_000),
        count if count >= 1000 && count % 1000 == 0 => format!("{} k", count / 1000),
        count => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_becomes_objects() {
        let mut table = Table::new("drops", "per second", &["who", "rate"]);
        table.row(vec![Cell::Text("a".to_owned()), Cell::Figure(12.345, 1)]);
        table.row(vec![Cell::Text("longer".to_owned()), Cell::Missing("cannot hold")]);
        assert_eq!(
            table.print(),
            "drops\nper second\n  who            rate\n  a              12.3\n  longer  cannot hold\n"
        );
        assert_eq!(table.json()["rows"][0], json!({ "who": "a", "rate": 12.345 }));
    }

    #[test]
    fn round_counts_are_said_in_short() {
        assert_eq!([0, 1000, 1500, 5_000_000].map(count), ["0", "1 k", "1500", "5 M"]);
    }
}
