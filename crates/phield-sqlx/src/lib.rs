//! Sealed columns of phield in databases, through sqlx 0.9. Use it as `phield::sqlx`.
//!
//! phield is no ORM. For every model the derive makes the struct of its columns, which reads itself from a row
//! ([`FromRow`](::sqlx::FromRow)) and binds itself to a statement, and finders; everything else is the application's own SQL.
//! This crate holds what those are made of, and what writes and reads many rows: [`insert`], [`insert_batch`], [`update`],
//! [`update_batch`] and [`open_stream`].
//!
//! Only ciphertext and index values are ever bound: `Phi` is no sqlx type, and binding it does not compile.
//!
//! # Column types
//!
//! | | SQLite | PostgreSQL | MariaDB, MySQL |
//! |---|---|---|---|
//! | `Sealed<T>` | `BLOB` | `BYTEA` | `VARBINARY(n)`, `BLOB` |
//! | `SealedText<T>` | `TEXT` | `TEXT` | `VARCHAR(n)` or `TEXT`, best `CHARACTER SET ascii COLLATE ascii_bin` |
//! | `BlindIndex` | `BLOB` | `BYTEA` | `VARBINARY(36)` |
//! | `Uid` | `BLOB` | `UUID` | `BINARY(16)` |
//!
//! [`TableKeyStore`] keeps the key ring itself in a table.
//!
//! On PostgreSQL a `Vec` of these, or of `Option` of them, is an array: `unnest($1::bytea[], $2::text[])`.
#![forbid(unsafe_code)]

mod backend;
mod columns;
mod error;
mod key_store;
pub mod migrate;
mod read;
mod refusal;
pub mod rotate;
mod row;
mod statement;
mod stream;
mod write;

pub use backend::Backend;
#[doc(hidden)]
pub use backend::{Reuse, UpdateForm};
pub use error::{DatabaseError, Error};
pub use key_store::{KeyStoreDatabase, TableKeyStore, TableKeyStores};
pub use read::ReadRow;
pub use read::column_list;
#[doc(hidden)]
pub use row::{BindColumn, BindPart, FromPart, ReadColumn};
pub use row::{BindRow, SealedRow, Values};
#[doc(hidden)]
pub use statement::Statement;
pub use stream::open_stream;
pub use write::{insert, insert_batch, update, update_batch};

/// What the expansion of the derive names.
#[doc(hidden)]
pub mod __private {
    pub use crate::columns::{Columns, NamedRow, columns};
    pub use crate::read::{Conditions, fetch, find, find_in};
    pub use crate::{
        Backend, BindColumn, BindPart, BindRow, Error, FromPart, ReadColumn, ReadRow, SealedRow, Values,
    };
    pub use sqlx::{Database, Error as SqlxError, Executor, FromRow};
}
