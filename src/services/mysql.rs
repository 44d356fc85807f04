//! MySQL and MariaDB.

use super::endpoint::Endpoint;
use super::pool::Pool;
use super::value::Collector;
use super::{Bounds, Database, Error, Table, Value, within};
use futures_util::TryStreamExt;
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Opts, OptsBuilder, Params, Row, SslOpts};
use std::time::{Duration, Instant};

/// The character set of what is no text.
const BINARY: u16 = 63;
/// After so long without a question a connection is tried before it is used: the server may have closed it.
const FRESH: Duration = Duration::from_secs(1);

/// After so long without a word the server is asked whether it is there, lest one that is gone is waited for.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A database of a MySQL or MariaDB server.
#[derive(Debug)]
pub struct Mysql {
    endpoint: Endpoint,
    name: String,
    pool: Pool<Conn>,
}

impl Mysql {
    /// The schemes of its URLs.
    pub const SCHEMES: [&str; 2] = ["mysql", "mariadb"];

    /// Behind `endpoint`, which is not asked yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            name: format!("the database {}", endpoint.name()),
            pool: Pool::new(endpoint.connections),
            endpoint,
        }
    }
}

impl Database for Mysql {
    fn query(
        &self,
        statement: &str,
        parameters: Vec<Value>,
        bounds: Bounds,
    ) -> Result<Table, Error> {
        let deadline = Instant::now() + self.endpoint.timeout;
        let mut place = self.pool.take(deadline)?;
        let idle = place.connection();
        let (options, statement) = (options(&self.endpoint), statement.to_owned());
        let left = deadline.saturating_duration_since(Instant::now());
        let answered = within(left, async move {
            let idle = match idle {
                Some((connection, idle)) if idle < FRESH => Some(connection),
                Some((mut connection, _)) => connection.ping().await.ok().map(|()| connection),
                None => None,
            };
            let mut connection = match idle {
                Some(connection) => connection,
                None => Conn::new(options)
                    .await
                    .map_err(|error| Error::Unreachable(told(&error)))?,
            };
            let answer = ask(&mut connection, &statement, parameters, bounds).await;
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

fn options(endpoint: &Endpoint) -> Opts {
    let mut options = OptsBuilder::default()
        .ip_or_hostname(&endpoint.host)
        .tcp_port(endpoint.port.unwrap_or(3306))
        .user(endpoint.user.clone())
        .pass(endpoint.password.clone())
        .db_name(endpoint.database.clone())
        .tcp_keepalive(Some(KEEPALIVE))
        // Else a server on this machine says where its socket is, and is asked there.
        .prefer_socket(false);
    if let Some(socket) = &endpoint.socket {
        options = options.socket(Some(socket.to_string_lossy()));
    }
    if endpoint.tls {
        let mut tls = SslOpts::default();
        if let Some(authority) = &endpoint.authority {
            tls = tls
                .with_root_certs(vec![authority.clone().into()])
                .with_disable_built_in_roots(true);
        }
        options = options.ssl_opts(tls);
    }
    options.into()
}

async fn ask(
    connection: &mut Conn,
    statement: &str,
    parameters: Vec<Value>,
    bounds: Bounds,
) -> Result<Table, Error> {
    let parameters: Vec<mysql_async::Value> = parameters.into_iter().map(parameter).collect();
    let parameters = match parameters.is_empty() {
        true => Params::Empty,
        false => Params::Positional(parameters),
    };
    let result = connection.exec_iter(statement, parameters).await;
    let mut result = result.map_err(refused)?;
    let columns = result.columns();
    let names = columns.iter().flat_map(|columns| columns.iter());
    let names = names.map(|column| column.name_str().into_owned()).collect();
    let mut collector = Collector::new(names, bounds)?;
    if let Some(mut rows) = result.stream::<Row>().await.map_err(refused)? {
        while let Some(row) = rows.try_next().await.map_err(refused)? {
            collector.add(values(row))?;
        }
    }
    result.drop_result().await.map_err(refused)?;
    Ok(collector.table())
}

fn refused(error: mysql_async::Error) -> Error {
    match &error {
        mysql_async::Error::Io(_) => Error::Unreachable(told(&error)),
        _ => Error::Refused(told(&error)),
    }
}

/// In the server's words where there are any.
fn told(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(told) => told.message.clone(),
        other => other.to_string(),
    }
}

fn parameter(value: Value) -> mysql_async::Value {
    match value {
        Value::Null => mysql_async::Value::NULL,
        Value::Flag(flag) => mysql_async::Value::Int(flag.into()),
        Value::Integer(number) => mysql_async::Value::Int(number),
        Value::Real(number) => mysql_async::Value::Double(number),
        Value::Text(text) => mysql_async::Value::Bytes(text.into_bytes()),
        Value::Octets(octets) => mysql_async::Value::Bytes(octets),
    }
}

fn values(row: Row) -> Vec<Value> {
    let columns = row.columns();
    let values = row.unwrap();
    columns
        .iter()
        .zip(values)
        .map(|(column, value)| of_column(column, value))
        .collect()
}

fn of_column(column: &Column, value: mysql_async::Value) -> Value {
    use mysql_async::Value as V;
    match value {
        V::NULL => Value::Null,
        V::Int(number) => Value::Integer(number),
        V::UInt(number) => {
            i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Integer)
        }
        V::Float(number) => Value::Real(number.into()),
        V::Double(number) => Value::Real(number),
        V::Bytes(octets) if is_binary(column) => Value::Octets(octets),
        V::Bytes(octets) => Value::Text(String::from_utf8_lossy(&octets).into_owned()),
        V::Date(year, month, day, 0, 0, 0, 0)
            if column.column_type() == ColumnType::MYSQL_TYPE_DATE =>
        {
            Value::Text(format!("{year:04}-{month:02}-{day:02}"))
        }
        V::Date(year, month, day, hour, minute, second, micros) => Value::Text(format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{}",
            fraction(micros)
        )),
        V::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if negative { "-" } else { "" };
            let hours = days * 24 + u32::from(hours);
            Value::Text(format!(
                "{sign}{hours:02}:{minutes:02}:{seconds:02}{}",
                fraction(micros)
            ))
        }
    }
}

fn fraction(micros: u32) -> String {
    match micros {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    }
}

/// Numbers and times have the character set of octets too, and are none.
fn is_binary(column: &Column) -> bool {
    let kind = column.column_type();
    let text_of_its_own = matches!(
        kind,
        ColumnType::MYSQL_TYPE_DECIMAL
            | ColumnType::MYSQL_TYPE_NEWDECIMAL
            | ColumnType::MYSQL_TYPE_JSON
    );
    column.character_set() == BINARY
        && column.flags().contains(ColumnFlags::BINARY_FLAG)
        && !text_of_its_own
        || kind == ColumnType::MYSQL_TYPE_BIT
}
