//! SQLite connections with every guard set and read back, and the schema.

use crate::error::{Result, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Params, Row, Transaction, TransactionBehavior};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long a transaction waits for another process's.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS: usize = 256;

/// `lcpy` in ASCII: tells an index from any other SQLite file.
const APPLICATION_ID: i64 = 0x6c63_7079;

mod embedded {
    refinery::embed_migrations!("src/schema");
}

/// What a connection is for; decides its cache, in KiB (as SQLite counts: negative pages).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Write,
    Read,
}

/// Statements that are prepared once for each connection: preparing one costs more than most of them do.
pub(crate) trait Cached {
    /// Changes rows, and says how many.
    fn change<P: Params>(&self, sql: &str, parameters: P) -> rusqlite::Result<usize>;

    /// The one row that there is.
    fn row<T, P: Params>(
        &self,
        sql: &str,
        parameters: P,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;
}

impl Cached for Connection {
    fn change<P: Params>(&self, sql: &str, parameters: P) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(parameters)
    }

    fn row<T, P: Params>(
        &self,
        sql: &str,
        parameters: P,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(parameters, read)
    }
}

/// Opens the index, and sets and reads back every guard.
pub(crate) fn connect(path: &Path, purpose: Use) -> Result<Connection> {
    let connection = open(path, false)?;
    guard(&connection, purpose)?;
    Ok(connection)
}

/// Opens the index, making it if `create`, and changes nothing yet: it may not be ours.
pub(crate) fn open(path: &Path, create: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Sets and reads back every guard.
pub(crate) fn guard(connection: &Connection, purpose: Use) -> Result<()> {
    // Plans never depend on bound values: without this, SQLite plans some statements anew for each value, ten times slower.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    set(connection, "journal_mode", "wal", "wal")?;
    set(connection, "synchronous", "FULL", "2")?;
    set(connection, "foreign_keys", "ON", "1")?;
    set(connection, "trusted_schema", "OFF", "0")?;
    set(connection, "cell_size_check", "ON", "1")?;
    let cache = if purpose == Use::Write { "-49152" } else { "-16384" };
    set(connection, "cache_size", cache, cache)?;
    if purpose == Use::Read {
        set(connection, "query_only", "ON", "1")?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn set(connection: &Connection, pragma: &str, value: &str, expected: &str) -> Result<()> {
    // Some pragmas answer with their value, some with nothing; the second statement asks all of them.
    connection.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    })?;
    let found = connection.pragma_query_value(None, pragma, |row| {
        row.get::<_, rusqlite::types::Value>(0).map(|value| match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        })
    })?;
    if found == expected {
        Ok(())
    } else {
        Err(StoreError::ReadOnly { detail: format!("SQLite set {pragma} to `{found}` instead of `{expected}`") })
    }
}

/// The newest schema that this program knows.
pub(crate) fn known_version() -> i64 {
    embedded::migrations::runner().get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

/// The schema version of an index: 0 for a new, empty file. Refuses what is no index, or one that is damaged at first sight.
pub(crate) fn found_version(connection: &Connection) -> Result<i64> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(0);
    }
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(StoreError::Corrupt { detail: "the file is an SQLite database, but not an index of lastcopy".into() });
    }
    let version = "SELECT ifnull(max(version), 0) FROM refinery_schema_history";
    Ok(connection.query_row(version, [], |row| row.get(0))?)
}

/// Brings the schema up to date in one transaction, and refuses one whose past migrations are not ours to the letter.
pub(crate) fn migrate(connection: &mut Connection) -> Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    embedded::migrations::runner()
        .set_abort_divergent(true)
        .set_abort_missing(true)
        .set_grouped(true)
        .run(connection)
        .map(|_report| ())
        .map_err(|error| StoreError::Corrupt { detail: format!("the schema is not ours: {error}") })
}

/// Refuses an index that was made by other migrations than ours, to the letter. One that is up to date is migrated by nothing, and so
/// compared by nobody else.
pub(crate) fn require_own_schema(connection: &Connection) -> Result<()> {
    let runner = embedded::migrations::runner();
    let ours = |version: i64, checksum: &str| {
        let same = |migration: &refinery::Migration| i64::from(migration.version()) == version;
        runner.get_migrations().iter().any(|migration| same(migration) && migration.checksum().to_string() == checksum)
    };
    let mut statement = connection.prepare("SELECT version, checksum FROM refinery_schema_history ORDER BY version")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (version, checksum): (i64, String) = (row.get(0)?, row.get(1)?);
        if !ours(version, &checksum) {
            let detail = format!("the schema is not ours: migration {version} was another one when the index was made");
            return Err(StoreError::Corrupt { detail });
        }
    }
    Ok(())
}

/// Where the schema of an index is another one than its migrations make, whatever its history says: a guard that was taken out of it is
/// missed only once it is needed.
pub(crate) fn schema_changes(connection: &Connection) -> Result<Vec<String>> {
    let version = i32::try_from(found_version(connection)?).unwrap_or(i32::MAX);
    let mut ours = Connection::open_in_memory()?;
    let runner = embedded::migrations::runner().set_target(refinery::Target::Version(version));
    runner.run(&mut ours).map_err(|error| StoreError::impossible(error.to_string()))?;
    let (ours, theirs) = (schema_objects(&ours)?, schema_objects(connection)?);
    let missing = ours.iter().filter(|(name, sql)| theirs.get(*name) != Some(sql)).map(|(name, _)| name);
    let added = theirs.keys().filter(|name| !ours.contains_key(*name));
    Ok(missing.chain(added).map(|(kind, name)| format!("the {kind} {name} is not as it was made")).collect())
}

/// Every object of a schema by kind and name, with what made it. What SQLite makes for itself has names of its own.
fn schema_objects(connection: &Connection) -> Result<BTreeMap<(String, String), Option<String>>> {
    let mut statement =
        connection.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A writing transaction. `BEGIN IMMEDIATE`, because a deferred one that upgrades fails at once, whatever the busy timeout.
pub(crate) fn writing<T>(connection: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// A consistent view over several queries.
pub(crate) fn reading<T>(connection: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    work(&transaction)
}
