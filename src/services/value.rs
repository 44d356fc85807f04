//! What goes into a database and comes out of it.

use super::Error;
use std::collections::HashSet;
use std::fmt::Debug;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `NULL`
    Null,
    /// A truth value; 0 and 1 where the database has none.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// A text.
    Text(String),
    /// Octets that are no text.
    Octets(Vec<u8>),
}

/// How large an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows.
    pub rows: usize,
    /// Values of all rows together.
    pub values: usize,
    /// Octets of all texts together.
    pub octets: usize,
}

/// An answer: rows, each with a value for each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The names of the columns, each of its own.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

/// A database that speaks SQL.
pub trait Database: Debug + Send + Sync {
    /// Runs one statement, with `parameters` in the places that it has for them. Waits no longer than it was told when it
    /// was made, for a connection and for the answer together.
    ///
    /// # Errors
    /// There is no answer, or it exceeds `bounds`. The statement may have had its effect even so.
    fn query(
        &self,
        statement: &str,
        parameters: Vec<Value>,
        bounds: Bounds,
    ) -> Result<Table, Error>;

    /// What it is called in messages; no secret is in it.
    fn name(&self) -> &str;
}

/// A table that grows row by row, within bounds.
pub(super) struct Collector {
    table: Table,
    bounds: Bounds,
    octets: usize,
}

impl Collector {
    /// # Errors
    /// Two columns have the same name.
    pub(super) fn new(columns: Vec<String>, bounds: Bounds) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::SameName(twice.clone()));
        }
        let rows = Vec::new();
        Ok(Self {
            table: Table { columns, rows },
            bounds,
            octets: 0,
        })
    }

    /// # Errors
    /// It is one too many.
    pub(super) fn add(&mut self, row: Vec<Value>) -> Result<(), Error> {
        self.octets += row.iter().map(Value::octets).sum::<usize>();
        let rows = self.table.rows.len() + 1;
        for (what, count, max) in [
            ("rows", rows, self.bounds.rows),
            ("values", rows * row.len(), self.bounds.values),
            ("octets", self.octets, self.bounds.octets),
        ] {
            if count > max {
                return Err(Error::TooMuch { what, max });
            }
        }
        self.table.rows.push(row);
        Ok(())
    }

    pub(super) fn table(self) -> Table {
        self.table
    }
}

impl Value {
    fn octets(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Octets(octets) => octets.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_bounds_is_an_error() {
        let bounds = Bounds {
            rows: 3,
            values: 4,
            octets: 10,
        };
        let text = |length| Value::Text("x".repeat(length));
        for (rows, expected) in [
            (vec![vec![Value::Null]; 3], Ok(3)),
            (vec![vec![Value::Null]; 4], Err("rows")),
            (vec![vec![Value::Null; 2]; 3], Err("values")),
            (vec![vec![text(5)], vec![text(5)]], Ok(2)),
            (vec![vec![text(5)], vec![text(6)]], Err("octets")),
            (vec![vec![Value::Octets(vec![0; 11])]], Err("octets")),
        ] {
            let columns = (0..rows[0].len()).map(|n| n.to_string()).collect();
            let mut collector = Collector::new(columns, bounds).unwrap();
            let added: Result<Vec<()>, Error> =
                rows.into_iter().map(|row| collector.add(row)).collect();
            let found = added.map(|rows| rows.len()).map_err(|error| match error {
                Error::TooMuch { what, .. } => what,
                error => panic!("{error}"),
            });
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn columns_have_names_of_their_own() {
        let bounds = Bounds {
            rows: 1,
            values: 1,
            octets: 1,
        };
        let columns = ["id", "name", "id"].map(str::to_owned).to_vec();
        let error = Collector::new(columns, bounds).err();
        assert_eq!(error, Some(Error::SameName("id".to_owned())));
    }
}
