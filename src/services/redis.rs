//! Redis, and whatever speaks its protocol.

use super::endpoint::Endpoint;
use super::pool::Pool;
use super::{Bounds, Error, Value, within};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use std::fmt;
use std::time::{Duration, Instant};

/// After so long without a question a connection is tried before it is used: the server may have closed it.
const FRESH: Duration = Duration::from_secs(1);

/// Commands that change the connection, which the next question would find changed, or that make the server speak
/// unasked.
const OF_THE_CONNECTION: [&str; 20] = [
    "ASKING",
    "AUTH",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SYNC",
    "WATCH",
];

/// A Redis server.
pub struct Redis {
    endpoint: Endpoint,
    name: String,
    pool: Pool<MultiplexedConnection>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.name).finish()
    }
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A value.
    One(Value),
    /// Values, which may be lists themselves.
    Many(Vec<Reply>),
}

impl Redis {
    /// The schemes of its URLs; the second says TLS.
    pub const SCHEMES: [&str; 2] = ["redis", "rediss"];

    /// Behind `endpoint`, which is not asked yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            name: format!("the database {}", endpoint.name()),
            pool: Pool::new(endpoint.connections),
            endpoint,
        }
    }

    /// What it is called in messages; no secret is in it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs one command.
    ///
    /// # Errors
    /// There is no answer, or it exceeds `bounds`. The command may have had its effect even so.
    pub fn command(&self, name: &str, arguments: &[Value], bounds: Bounds) -> Result<Reply, Error> {
        let upper = name.to_ascii_uppercase();
        if OF_THE_CONNECTION.contains(&upper.as_str()) {
            let what = format!("{upper} is about the connection, which is not that of one rule");
            return Err(Error::Refused(what));
        }
        let mut command = redis::cmd(name);
        for argument in arguments {
            add(&mut command, argument)?;
        }
        let deadline = Instant::now() + self.endpoint.timeout;
        let mut place = self.pool.take(deadline)?;
        let idle = place.connection();
        let endpoint = self.endpoint.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let answered = within(left, async move {
            let mut connection = match fresh(idle).await {
                Some(connection) => connection,
                None => connect(&endpoint).await?,
            };
            let answer = connection.send_packed_command(&command).await;
            Ok((connection, answer))
        });
        let (connection, answer) =
            answered.unwrap_or(Err(Error::TimedOut(self.endpoint.timeout)))?;
        match answer.and_then(redis::Value::extract_error) {
            Ok(value) => {
                place.give_back(connection);
                let mut room = bounds;
                reply(value, &mut room).ok_or(Error::TooMuch {
                    what: "octets or values",
                    max: bounds.octets.min(bounds.rows),
                })
            }
            Err(error) => {
                // What it says no to, it has understood to the end.
                if error.kind() != ErrorKind::Io && !error.is_connection_dropped() {
                    place.give_back(connection);
                }
                Err(refused(&error))
            }
        }
    }
}

async fn fresh(idle: Option<(MultiplexedConnection, Duration)>) -> Option<MultiplexedConnection> {
    let (mut connection, idle) = idle?;
    if idle > FRESH {
        connection
            .send_packed_command(&redis::cmd("PING"))
            .await
            .ok()?;
    }
    Some(connection)
}

async fn connect(endpoint: &Endpoint) -> Result<MultiplexedConnection, Error> {
    let unreachable = |error: RedisError| Error::Unreachable(error.to_string());
    let client = client(endpoint)?;
    // The question as a whole has a limit of its own.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    connected.await.map_err(unreachable)
}

fn client(endpoint: &Endpoint) -> Result<Client, Error> {
    let unreachable = |error: RedisError| Error::Unreachable(error.to_string());
    let port = endpoint.port.unwrap_or(6379);
    let host = endpoint.host.clone();
    let address = match &endpoint.socket {
        Some(socket) => ConnectionAddr::Unix(socket.clone()),
        None if endpoint.tls => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
        None => ConnectionAddr::Tcp(host, port),
    };
    let mut settings = RedisConnectionInfo::default();
    if let Some(user) = &endpoint.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &endpoint.password {
        settings = settings.set_password(password);
    }
    if let Some(database) = &endpoint.database {
        let number = database.parse().map_err(|_| {
            Error::Unreachable(format!("{database:?} is no number of a Redis database"))
        })?;
        settings = settings.set_db(number);
    }
    let info = address.into_connection_info().map_err(unreachable)?;
    let info = info.set_redis_settings(settings);
    match &endpoint.authority {
        Some(path) if endpoint.tls => {
            let pem = std::fs::read(path)
                .map_err(|error| Error::Unreachable(format!("{}: {error}", path.display())))?;
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(pem),
            };
            Client::build_with_tls(info, certificates).map_err(unreachable)
        }
        _ => Client::open(info).map_err(unreachable),
    }
}

fn refused(error: &RedisError) -> Error {
    if error.is_io_error() || error.is_connection_dropped() {
        Error::Unreachable(error.to_string())
    } else {
        Error::Refused(error.to_string())
    }
}

fn add(command: &mut Cmd, argument: &Value) -> Result<(), Error> {
    match argument {
        Value::Null => {
            let what = "an argument is (), which Redis has no word for";
            return Err(Error::Refused(what.to_owned()));
        }
        Value::Flag(flag) => command.arg(i64::from(*flag)),
        Value::Integer(number) => command.arg(*number),
        Value::Real(number) => command.arg(*number),
        Value::Text(text) => command.arg(text),
        Value::Octets(octets) => command.arg(octets),
    };
    Ok(())
}

/// `None`: there is no room for it.
fn reply(value: redis::Value, room: &mut Bounds) -> Option<Reply> {
    use redis::Value as V;
    room.rows = room.rows.checked_sub(1)?;
    let mut text = |text: String| {
        room.octets = room.octets.checked_sub(text.len())?;
        Some(Reply::One(Value::Text(text)))
    };
    match value {
        V::Nil => Some(Reply::One(Value::Null)),
        V::Int(number) => Some(Reply::One(Value::Integer(number))),
        V::Double(number) => Some(Reply::One(Value::Real(number))),
        V::Boolean(flag) => Some(Reply::One(Value::Flag(flag))),
        V::Okay => text("OK".to_owned()),
        V::SimpleString(line) => text(line),
        V::VerbatimString { text: lines, .. } => text(lines),
        V::BulkString(octets) | V::BigNumber(octets) => match String::from_utf8(octets) {
            Ok(characters) => text(characters),
            Err(error) => {
                let octets = error.into_bytes();
                room.octets = room.octets.checked_sub(octets.len())?;
                Some(Reply::One(Value::Octets(octets)))
            }
        },
        V::Array(values) | V::Set(values) | V::Push { data: values, .. } => {
            let replies = values.into_iter().map(|value| reply(value, room));
            replies.collect::<Option<_>>().map(Reply::Many)
        }
        V::Map(pairs) => {
            let values = pairs.into_iter().flat_map(|(key, value)| [key, value]);
            let replies = values.map(|value| reply(value, room));
            replies.collect::<Option<_>>().map(Reply::Many)
        }
        V::Attribute { data, .. } => reply(*data, room),
        other => text(format!("{other:?}")),
    }
}
