//! Whom rules may ask: databases, files of records, commands.
//!
//! What is asked here answers in its own time, or never, so every question has a time limit, and whoever asks waits in a
//! thread: [`within`] runs what is asynchronous for those who are not. Knows nothing of mail, nor of the rule language.
//!
//! | file | what |
//! |---|---|
//! | `command` | a program, run without a shell |
//! | `records` | a file of comma-separated values (RFC 4180) |
//! | `value` | what every SQL database is asked, and answers |
//! | `sqlite` | a database in a file |
//! | `postgresql`, `mysql`, `redis` | databases behind a server, each a cargo feature; `endpoint` says where it is |
//! | `pool` | a bounded number of connections |
//! | `runtime` | the thread that waits for sockets and processes |
//! | `error` | why there is no answer |
//!
//! Invariants: nobody is asked before the first question, so that a service that is down stops no start; what comes back
//! is bounded in size; a question that fails leaves nothing behind that the next one stumbles over.

mod command;
#[cfg(any(feature = "mysql", feature = "postgresql", feature = "redis"))]
mod endpoint;
mod error;
#[cfg(feature = "mysql")]
mod mysql;
mod pool;
#[cfg(feature = "postgresql")]
mod postgresql;
mod records;
#[cfg(feature = "redis")]
mod redis;
mod runtime;
mod sqlite;
mod value;

pub use command::{Command, Outcome};
#[cfg(any(feature = "mysql", feature = "postgresql", feature = "redis"))]
pub use endpoint::{Endpoint, EndpointError};
pub use error::Error;
#[cfg(feature = "mysql")]
pub use mysql::Mysql;
#[cfg(feature = "postgresql")]
pub use postgresql::Postgresql;
pub use records::{Access, Records};
#[cfg(feature = "redis")]
pub use redis::{Redis, Reply};
pub use runtime::within;
pub use sqlite::Sqlite;
pub use value::{Bounds, Database, Table, Value};
