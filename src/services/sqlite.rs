//! SQLite: a database in a file of our own, without a server.
//!
//! The file is in WAL mode, in which those who read wait for nobody, and writers only for each other.

use super::pool::Pool;
use super::value::Collector;
use super::{Bounds, Database, Error, Table, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, ToSql, params_from_iter};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Steps of SQLite's machine between two looks at the clock: some microseconds.
const STEPS: i32 = 1000;

/// A database file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    name: String,
    schema: Option<String>,
    timeout: Duration,
    pool: Pool<Connection>,
    /// Held while a connection is made: those who make the file WAL at the same time get in each other's way.
    opening: Mutex<()>,
}

impl Sqlite {
    /// The file at `path`, made with its folder by the first question. Each connection begins with the statements of
    /// `schema`, which so must do no harm when they are repeated.
    pub fn new(
        path: PathBuf,
        schema: Option<String>,
        timeout: Duration,
        connections: usize,
    ) -> Self {
        Self {
            name: format!("the database {}", path.display()),
            path,
            schema,
            timeout,
            pool: Pool::new(connections),
            opening: Mutex::new(()),
        }
    }

    fn open(&self, deadline: Instant) -> Result<Connection, Error> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        loop {
            // Another process, or the rules from before a reload, may be at it too.
            match self.try_open(deadline).map_err(|error| self.error(error)) {
                Err(Error::TimedOut(_)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return opened,
            }
        }
    }

    fn try_open(&self, deadline: Instant) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        limit(&mut connection, deadline)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // In WAL mode a power failure may cost the last writes, never the file.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        if let Some(schema) = &self.schema {
            connection.execute_batch(schema)?;
        }
        Ok(connection)
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OperationInterrupted,
            ) => Error::TimedOut(self.timeout),
            Some(ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::PermissionDenied) => {
                Error::Unreachable(error.to_string())
            }
            _ => Error::Refused(error.to_string()),
        }
    }
}

impl Database for Sqlite {
    fn query(
        &self,
        statement: &str,
        parameters: Vec<Value>,
        bounds: Bounds,
    ) -> Result<Table, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut place = self.pool.take(deadline)?;
        let mut connection = match place.connection() {
            Some((connection, _)) => connection,
            None => self.open(deadline)?,
        };
        limit(&mut connection, deadline).map_err(|error| self.error(error))?;
        let answer = ask(&connection, statement, parameters, bounds);
        // What a failed statement leaves open, such as a transaction, goes with its connection.
        if connection.is_autocommit() {
            place.give_back(connection);
        }
        answer.map_err(|failure| match failure {
            Failure::Sqlite(error) => self.error(error),
            Failure::Answer(error) => error,
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Why a question has failed: in SQLite, or by the size of its answer.
enum Failure {
    Sqlite(rusqlite::Error),
    Answer(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

/// Makes `connection` give up at `deadline`, be it that it waits for another or that it has much to do.
fn limit(connection: &mut Connection, deadline: Instant) -> rusqlite::Result<()> {
    connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
    connection.progress_handler(STEPS, Some(move || Instant::now() >= deadline))
}

fn ask(
    connection: &Connection,
    statement: &str,
    parameters: Vec<Value>,
    bounds: Bounds,
) -> Result<Table, Failure> {
    let mut statement = connection.prepare_cached(statement)?;
    let names = statement.column_names();
    let columns: Vec<String> = names.map(str::to_owned).collect();
    let count = columns.len();
    let mut collector = Collector::new(columns, bounds)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        collector.add(values(row, count)?)?;
    }
    Ok(collector.table())
}

fn values(row: &Row<'_>, count: usize) -> rusqlite::Result<Vec<Value>> {
    let text = |octets: &[u8]| Value::Text(String::from_utf8_lossy(octets).into_owned());
    (0..count)
        .map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                ValueRef::Text(octets) => text(octets),
                ValueRef::Blob(octets) => Value::Octets(octets.to_vec()),
            })
        })
        .collect()
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Flag(flag) => ValueRef::Integer((*flag).into()),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Octets(octets) => ValueRef::Blob(octets),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        rows: 100,
        values: 200,
        octets: 1000,
    };
    const SECOND: Duration = Duration::from_secs(60);

    fn database(folder: &tempfile::TempDir, timeout: Duration) -> Sqlite {
        let schema =
            "CREATE TABLE IF NOT EXISTS t (k UNIQUE, v); CREATE INDEX IF NOT EXISTS i ON t (v)";
        let path = folder.path().join("below/test.db");
        Sqlite::new(path, Some(schema.to_owned()), timeout, 4)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn values_come_back_as_they_were_given() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder, SECOND);
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(0.5),
            text("'; DROP TABLE t; --"),
            Value::Octets(vec![0, 255]),
        ];
        for value in values {
            let table = database.query("SELECT ? AS v", vec![value.clone()], BOUNDS);
            let expected = Table {
                columns: vec!["v".to_owned()],
                rows: vec![vec![value]],
            };
            assert_eq!(table, Ok(expected));
        }
        let flag = database
            .query("SELECT ?", vec![Value::Flag(true)], BOUNDS)
            .unwrap();
        assert_eq!(flag.rows, [[Value::Integer(1)]]);
    }

    #[test]
    fn what_is_wrong_is_told_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder, SECOND);
        for (statement, parameters) in [
            ("SELEKT 1", vec![]),
            ("SELECT ?", vec![]),
            ("SELECT 1", vec![Value::Null]),
            ("SELECT 1; SELECT 2", vec![]),
            ("SELECT * FROM nowhere", vec![]),
        ] {
            let error = database.query(statement, parameters, BOUNDS).unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{statement}: {error}");
        }
        assert!(matches!(
            database.query("SELECT 1 AS a, 2 AS a", vec![], BOUNDS),
            Err(Error::SameName(_))
        ));
        let many =
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";
        assert!(matches!(
            database.query(many, vec![], BOUNDS),
            Err(Error::TooMuch { what: "rows", .. })
        ));
        assert!(database.query("BEGIN", vec![], BOUNDS).is_ok());
        // On the same connection it would be one transaction in another.
        assert!(database.query("BEGIN", vec![], BOUNDS).is_ok());
        assert!(
            database
                .query("INSERT INTO t VALUES (1, 2)", vec![], BOUNDS)
                .is_ok()
        );
    }

    #[test]
    fn has_a_time_limit() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Duration::from_millis(200);
        let database = database(&folder, limit);
        let endless =
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
        assert_eq!(
            database.query(endless, vec![], BOUNDS),
            Err(Error::TimedOut(limit))
        );
        // Somebody else writes, and does not end.
        let other = Connection::open(&database.path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let write = "INSERT INTO t VALUES (1, 2)";
        assert_eq!(
            database.query(write, vec![], BOUNDS),
            Err(Error::TimedOut(limit))
        );
        assert!(database.query("SELECT * FROM t", vec![], BOUNDS).is_ok());
        other.execute_batch("ROLLBACK").unwrap();
        assert!(database.query(write, vec![], BOUNDS).is_ok());
    }

    #[test]
    fn many_write_at_once() {
        const WRITERS: i64 = 32;
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (database(&folder, SECOND), database(&folder, SECOND));
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let database = if writer % 2 == 0 { &one } else { &other };
                scope.spawn(move || {
                    let write = "INSERT INTO t VALUES ('all', 1) ON CONFLICT (k) DO UPDATE SET v = v + 1 RETURNING v";
                    database.query(write, vec![], BOUNDS).unwrap();
                });
            }
        });
        let count = one.query("SELECT v FROM t", vec![], BOUNDS).unwrap();
        assert_eq!(count.rows, [[Value::Integer(WRITERS)]]);
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "no database".repeat(100)).unwrap();
        let text = Sqlite::new(path.clone(), None, SECOND, 1);
        let below = Sqlite::new(path.join("x.db"), None, SECOND, 1);
        for database in [text, below] {
            let error = database.query("SELECT 1", vec![], BOUNDS).unwrap_err();
            assert!(matches!(error, Error::Unreachable(_)), "{error}");
        }
    }
}
