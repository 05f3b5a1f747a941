//! A clinic's patients behind HTTP, in SQLite or PostgreSQL: what a service looks like in which health data is sealed.
//!
//! | route | what it does | what phield does in it |
//! |---|---|---|
//! | `POST /patients` | creates a patient | JSON is read into `Phi` fields, `seal` |
//! | `POST /patients/search` | finds patients by SSN | the generated finder |
//! | `GET /patients/{id}` | shows one | the generated `fetch`, and [`view`] |
//! | `PUT /patients/{id}/ssn` | changes one field | `Patient::seal_ssn`: the field and its index |
//! | `PUT /patients/{id}/phone` | the same without an index | `Patient::seal_phone` |
//! | `GET /patients` | lists the plain columns | nothing: no key is needed |
//!
//! `model.rs`, `database.rs` and `routes.rs` are the service. `request.rs`, `error.rs` and `view` are what keeps values
//! out of logs and errors, and lets them out where they belong. `ring.rs` makes a key ring for this demonstration.
//!
//! # What it does not do
//!
//! It knows no users and encrypts no connection: put both in front of it. It cannot erase what axum, hyper and the
//! database driver keep in their buffers: a core dump of it can hold what was in a request or in an answer.
#![forbid(unsafe_code)]

mod database;
mod error;
mod model;
mod request;
pub mod ring;
mod routes;
pub mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use phield::Keyring;
use tower_http::catch_panic::CatchPanicLayer;

pub use database::Database;
pub use error::ApiError;
pub use model::{Patient, SealedPatient};
pub use request::{Body, log_panics_without_messages};

/// More than any request of this service needs, in bytes.
const BODY_LIMIT: usize = 64 << 10;

/// What is read of a request all the same, in bytes, so that the answer reaches a client that is still sending.
const READ_LIMIT: usize = 1 << 20;

/// What every handler is given.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Service {
    /// The pool of connections.
    pub database: Database,
    /// The keys; in memory, so that sealing and opening need no waiting.
    pub keyring: Arc<Keyring>,
}

impl Service {
    /// A service on this database with these keys.
    #[must_use]
    pub fn new(database: Database, keyring: Keyring) -> Self {
        Self {
            database,
            keyring: Arc::new(keyring),
        }
    }
}

/// The routes, in the layers of [`guarded`].
pub fn router(service: Service) -> Router {
    guarded(routes().with_state(service))
}

/// The routes alone.
pub fn routes() -> Router<Service> {
    Router::new()
        .route("/patients", post(routes::create).get(routes::list))
        // POST: an SSN in a query string would stand in the access log of every proxy on the way.
        .route("/patients/search", post(routes::search))
        .route("/patients/{id}", get(routes::show))
        .route("/patients/{id}/ssn", put(routes::update_ssn))
        .route("/patients/{id}/phone", put(routes::update_phone))
        .fallback(async || ApiError::NotFound)
}

/// Routes with a log, answers and panics that repeat nothing of a request.
pub fn guarded(routes: Router) -> Router {
    routes
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn_with_state(
            READ_LIMIT,
            request::read_body,
        ))
        .layer(CatchPanicLayer::custom(request::answer_panic))
        .layer(axum::middleware::from_fn(request::log))
}
