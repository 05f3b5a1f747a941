//! Sealed columns of phield in databases, through sqlx 0.9. Use it as `phield::sqlx`.
//!
//! phield is no ORM. For every model the derive makes the struct of its columns, which reads itself from a row
//! ([`FromRow`](::sqlx::FromRow)) and binds itself to a statement, and finders; everything else is the application's own SQL.
//! This crate holds what those are made of, and [`insert`] and [`insert_batch`].
//!
//! Only ciphertext and index values are ever bound: `Phi` is no sqlx type, and binding it does not compile.
#![forbid(unsafe_code)]

mod backend;
mod error;
mod read;
mod row;
mod statement;
mod write;

pub use backend::Backend;
pub use error::{DatabaseError, Error};
pub use read::ReadRow;
#[doc(hidden)]
pub use row::{BindColumn, BindPart, FromPart, ReadColumn};
pub use row::{BindRow, SealedRow, Values};
#[doc(hidden)]
pub use statement::Statement;
pub use write::{insert, insert_batch};

/// What the expansion of the derive names.
#[doc(hidden)]
pub mod __private {
    pub use crate::read::{Conditions, column, column_of_part, fetch, find, find_in};
    pub use crate::{
        Backend, BindColumn, BindPart, BindRow, Error, FromPart, ReadColumn, ReadRow, SealedRow, Values,
    };
    pub use sqlx::{ColumnIndex, Database, Error as SqlxError, Executor, FromRow, Row};
}
