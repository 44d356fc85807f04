//! PostgreSQL, over its own protocol.
//!
//! Parameters travel as text, which the server reads as whatever type stands at their place: a string can be a `uuid`, an
//! `inet` or a `date`.

use super::endpoint::Endpoint;
use super::pool::Pool;
use super::value::Collector;
use super::{Bounds, Database, Error, Table, Value, within};
use futures_util::TryStreamExt;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, Instant};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A database of a PostgreSQL server.
#[derive(Debug)]
pub struct Postgresql {
    endpoint: Endpoint,
    name: String,
    pool: Pool<Connection>,
}

/// A connection, and the statements that it knows already.
struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Postgresql {
    /// The schemes of its URLs.
    pub const SCHEMES: [&str; 2] = ["postgresql", "postgres"];

    /// Behind `endpoint`, which is not asked yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            name: format!("the database {}", endpoint.name()),
            pool: Pool::new(endpoint.connections),
            endpoint,
        }
    }
}

impl Database for Postgresql {
    fn query(
        &self,
        statement: &str,
        parameters: Vec<Value>,
        bounds: Bounds,
    ) -> Result<Table, Error> {
        let deadline = Instant::now() + self.endpoint.timeout;
        let mut place = self.pool.take(deadline)?;
        let idle = place.connection().map(|(connection, _)| connection);
        let idle = idle.filter(|connection| !connection.client.is_closed());
        let (endpoint, statement) = (self.endpoint.clone(), statement.to_owned());
        let left = deadline.saturating_duration_since(Instant::now());
        let answered = within(left, async move {
            let mut connection = match idle {
                Some(connection) => connection,
                None => connect(&endpoint).await?,
            };
            let answer = ask(&mut connection, &statement, &parameters, bounds).await;
            Ok((connection, answer))
        });
        let (connection, answer) =
            answered.unwrap_or(Err(Error::TimedOut(self.endpoint.timeout)))?;
        // A statement that has failed may leave a transaction open, or rows to come.
        if answer.is_ok() {
            place.give_back(connection);
        }
        answer
    }

    fn name(&self) -> &str {
        &self.name
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Connection, Error> {
    let config = configuration(endpoint);
    let unreachable = |error: tokio_postgres::Error| Error::Unreachable(told(&error));
    let client = if endpoint.tls {
        let tls = endpoint.tls_configuration().map_err(Error::Unreachable)?;
        let connected = config.connect(MakeRustlsConnect::new(tls)).await;
        let (client, connection) = connected.map_err(unreachable)?;
        // It ends with the client; what it says at its end the client has said before.
        tokio::spawn(async move { drop(connection.await) });
        client
    } else {
        let (client, connection) = config.connect(NoTls).await.map_err(unreachable)?;
        tokio::spawn(async move { drop(connection.await) });
        client
    };
    Ok(Connection {
        client,
        statements: HashMap::new(),
    })
}

fn configuration(endpoint: &Endpoint) -> Config {
    use tokio_postgres::config::SslMode;
    let mut config = Config::new();
    match &endpoint.socket {
        Some(folder) => config.host_path(folder),
        None => config.host(&endpoint.host),
    };
    config
        .port(endpoint.port.unwrap_or(5432))
        .ssl_mode(if endpoint.tls {
            SslMode::Require
        } else {
            SslMode::Disable
        })
        .application_name("vsmtp")
        // The server stops too when nobody listens any more.
        .options(format!(
            "-c statement_timeout={}",
            milliseconds(endpoint.timeout)
        ));
    if let Some(user) = &endpoint.user {
        config.user(user);
    }
    if let Some(password) = &endpoint.password {
        config.password(password);
    }
    if let Some(database) = &endpoint.database {
        config.dbname(database);
    }
    config
}

fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis().max(1)
}

async fn ask(
    connection: &mut Connection,
    text: &str,
    parameters: &[Value],
    bounds: Bounds,
) -> Result<Table, Error> {
    let statement = match connection.statements.get(text) {
        Some(statement) => statement.clone(),
        None => {
            let statement = connection.client.prepare(text).await.map_err(refused)?;
            connection
                .statements
                .insert(text.to_owned(), statement.clone());
            statement
        }
    };
    let places = statement.params().len();
    if places != parameters.len() {
        return Err(Error::Refused(format!(
            "the statement has places for {places} parameters, and {} are given",
            parameters.len()
        )));
    }
    for column in statement.columns() {
        if !has_counterpart(column.type_()) {
            return Err(Error::NoCounterpart {
                column: column.name().to_owned(),
                kind: column.type_().name().to_owned(),
            });
        }
    }
    let columns = statement
        .columns()
        .iter()
        .map(|column| column.name().to_owned());
    let mut collector = Collector::new(columns.collect(), bounds)?;
    let rows = connection.client.query_raw(&statement, parameters).await;
    let mut rows = std::pin::pin!(rows.map_err(refused)?);
    while let Some(row) = rows.try_next().await.map_err(refused)? {
        collector.add(values(&row)?)?;
    }
    Ok(collector.table())
}

fn values(row: &Row) -> Result<Vec<Value>, Error> {
    let value = |column| row.try_get::<_, Option<Value>>(column).map_err(refused);
    (0..row.len())
        .map(|column| Ok(value(column)?.unwrap_or(Value::Null)))
        .collect()
}

fn refused(error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(_) => Error::Refused(told(&error)),
        None if error.is_closed() => Error::Unreachable(told(&error)),
        None => Error::Refused(told(&error)),
    }
}

/// In the server's words where there are any, with the cause otherwise.
fn told(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(told), _) => told.message().to_owned(),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// Whether a column of that type can be a [`Value`].
fn has_counterpart(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::UNKNOWN
            | Type::JSON
            | Type::BYTEA
            | Type::VOID
    ) || matches!(kind.kind(), Kind::Enum(_))
}

type Fallible<T> = Result<T, Box<dyn StdError + Sync + Send>>;

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, octets: &'a [u8]) -> Fallible<Self> {
        Ok(match *kind {
            Type::BOOL => Self::Flag(bool::from_sql(kind, octets)?),
            Type::INT2 => Self::Integer(i16::from_sql(kind, octets)?.into()),
            Type::INT4 => Self::Integer(i32::from_sql(kind, octets)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(kind, octets)?),
            Type::OID => Self::Integer(u32::from_sql(kind, octets)?.into()),
            Type::FLOAT4 => Self::Real(f32::from_sql(kind, octets)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(kind, octets)?),
            Type::BYTEA => Self::Octets(octets.to_vec()),
            Type::VOID => Self::Null,
            _ => Self::Text(std::str::from_utf8(octets)?.to_owned()),
        })
    }

    fn accepts(kind: &Type) -> bool {
        has_counterpart(kind)
    }
}

impl ToSql for Value {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Fallible<IsNull> {
        let text = match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Flag(flag) => flag.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Octets(octets) => {
                let digits = octets.iter().map(|octet| format!("{octet:02x}"));
                format!("\\x{}", digits.collect::<String>())
            }
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}
