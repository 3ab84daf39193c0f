//! Identities of rows, one type each: a volume's number can never be taken for a destination's.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! row_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) i64);

        impl $name {
            /// The number, for printing and for JSON.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                i64::column_result(value).map(Self)
            }
        }
    )*};
}

row_ids! {
    /// A run of this index. Ids only grow, across epochs too.
    RunId;
    /// One life of a node's index.
    EpochId;
    /// A volume, under whatever name.
    VolumeId;
    /// A destination, under whatever name.
    DestinationId;
    /// A content.
    ContentId;
    /// A directory of a volume.
    DirectoryId;
    /// A row of file history.
    FileId;
    /// An alarm.
    AlarmId;
    /// A file that an offload moved aside.
    IntentId;
    /// A run of a volume's hook.
    HookRunId;
    /// A head, announced or sealed.
    HeadId;
}

impl FileId {
    /// A row that was written down outside of the index and is read again: work lists of any length.
    pub fn spooled(number: i64) -> Self {
        Self(number)
    }
}

impl ContentId {
    /// A row that was written down outside of the index and is read again: work lists of any length.
    pub fn spooled(number: i64) -> Self {
        Self(number)
    }
}

impl VolumeId {
    /// Stands for a volume where there is no index: in printed tables and in tests of pure functions.
    pub fn stand_in(number: i64) -> Self {
        Self(number)
    }
}

impl DestinationId {
    /// Stands for a destination where there is no index: in printed tables and in tests of pure functions.
    pub fn stand_in(number: i64) -> Self {
        Self(number)
    }
}

impl HeadId {
    /// Stands for a head where there is no index: in tests of pure functions.
    pub fn stand_in(number: i64) -> Self {
        Self(number)
    }
}

impl RunId {
    /// A run named by a person.
    pub fn from_user(number: i64) -> Self {
        Self(number)
    }
}

impl AlarmId {
    /// An alarm named by a person.
    pub fn from_user(number: i64) -> Self {
        Self(number)
    }
}

/// Milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

/// Names that are stored as text: an enum, its spellings, and both ways of SQL and serde.
macro_rules! text_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The spelling used in the index, in JSON and in the configuration.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of a spelling.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl rusqlite::types::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.name().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                Self::from_name(value.as_str()?).ok_or(rusqlite::types::FromSqlError::InvalidType)
            }
        }
    };
}
pub(crate) use text_enum;
