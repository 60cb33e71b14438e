//! One statement, for either database.

use std::borrow::Cow;

use sqlx::{FromRow, sqlite::SqliteRow};

/// A statement of SQL that both databases understand. Its parameters are `$1`, `$2` and so on.
pub fn query<'v>(sql: &'static str) -> Query<'v> {
    Query { sql, values: Vec::new() }
}

/// A statement with the values of its parameters.
pub struct Query<'v> {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value<'v>>,
}

/// What a parameter may be.
pub enum Value<'v> {
    /// A text. [`Database::text`](super::Database::text) gives it back as it was.
    Text(Option<Cow<'v, str>>),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(&'v [u8]),
}

/// What a row of the result may be read as: a tuple of texts, numbers, booleans and bytes.
#[cfg(not(feature = "postgres"))]
pub trait Row: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
#[cfg(not(feature = "postgres"))]
impl<T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Row for T {}

/// What a row of the result may be read as: a tuple of texts, numbers, booleans and bytes.
#[cfg(feature = "postgres")]
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin {}
#[cfg(feature = "postgres")]
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin {}

/// A query of the library, of either kind, with the values of ours; `text`: how the database keeps one.
macro_rules! bound {
    ($theirs:expr, $ours:expr, $text:expr) => {
        $ours.values.iter().fold($theirs, |query, value| match value {
            Value::Text(text) => query.bind(text.as_deref().map($text)),
            Value::Number(number) => query.bind(*number),
            Value::Bytes(bytes) => query.bind(*bytes),
        })
    };
}
pub(super) use bound;

impl<'v> Query<'v> {
    /// The value of the next parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into());
        self
    }
}

impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(text: Option<&'v str>) -> Self {
        Value::Text(text.map(Cow::Borrowed))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Value::Text(Some(text.into()))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Value::Text(Some(text.into()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Text(Some(text.into()))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Number(number)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Value::Bytes(bytes)
    }
}
