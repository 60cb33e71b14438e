//! A database: a file of SQLite, or PostgreSQL, which many machines can share (feature `postgres`). One text of SQL does for
//! both, with the parameters `$1`, `$2` and so on ([`query`]). Only what locks is written twice, and that is in this module.

mod connection;
mod location;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod sqlite;

pub use sqlx::{Error, Result};

pub use self::{
    connection::{On, Transaction},
    location::Location,
    pool::{Database, Tables, is_unavailable},
    query::{Query, Row, Value, query},
};
