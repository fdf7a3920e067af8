//! Figures beside their goals, printed as they come.

use std::io::Write;

use super::Failure;

/// A figure.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) what: &'a str,
    /// Empty in a table without stores.
    pub(super) store: &'a str,
    pub(super) figure: String,
    /// In words, and whether it is reached.
    pub(super) goal: Option<(String, bool)>,
}

/// The figures so far.
#[derive(Debug)]
pub(super) struct Table {
    out: std::io::Stdout,
    store_width: usize,
    missed: usize,
}

impl Table {
    /// Of one thing alone.
    pub(super) fn plain() -> Result<Self, Failure> {
        Self::begin("", 0)
    }

    /// Each figure says of which store it is.
    pub(super) fn with_stores() -> Result<Self, Failure> {
        Self::begin("store", 9)
    }

    fn begin(store: &str, store_width: usize) -> Result<Self, Failure> {
        let mut table = Self {
            out: std::io::stdout(),
            store_width,
            missed: 0,
        };
        table.line("what", store, "figure", "goal")?;
        Ok(table)
    }

    pub(super) fn row(&mut self, row: Row<'_>) -> Result<(), Failure> {
        let Row {
            what,
            store,
            figure,
            goal,
        } = row;
        let goal = match goal {
            None => String::new(),
            Some((goal, true)) => format!("{goal}: reached"),
            Some((goal, false)) => {
                self.missed += 1;
                format!("{goal}: MISSED")
            }
        };
        self.line(what, store, &figure, &goal)
    }

    pub(super) fn note(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    pub(super) fn end(mut self) -> Result<(), Failure> {
        writeln!(self.out, "goals missed: {}", self.missed)?;
        Ok(())
    }

    fn line(&mut self, what: &str, store: &str, figure: &str, goal: &str) -> Result<(), Failure> {
        let width = self.store_width;
        let gap = if width > 0 { " " } else { "" };
        let line = format!("{what:<36} {store:<width$}{gap}{figure:<50} {goal}");
        writeln!(self.out, "{}", line.trim_end())?;
        Ok(())
    }
}
