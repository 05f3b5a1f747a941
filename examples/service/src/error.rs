//! What a request can end with. No answer and no log line repeats a value.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use phield::sqlx::Error;
use phield::{DisclosureRefused, IndexError, OpenError, SealError};
use serde_json::json;

/// Why a request was not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The path or the body is not what the route takes.
    #[error("the request is not what this route takes")]
    BadRequest,
    /// The body is larger than the service takes.
    #[error("the request is too large")]
    TooLarge,
    /// The body is not declared as JSON.
    #[error("the request is not of type application/json")]
    NotJson,
    /// A field holds what it may not. Its name is a constant of the service.
    #[error("the field {0} is not valid")]
    Invalid(&'static str),
    /// There is no such patient, or no such route.
    #[error("there is nothing here")]
    NotFound,
    /// The values of the answer may not be shown, or that they are could not be recorded.
    #[error(transparent)]
    Refused(#[from] DisclosureRefused),
    /// Sealing, opening or the database failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<SealError> for ApiError {
    fn from(error: SealError) -> Self {
        Self::Failed(error.into())
    }
}

impl ApiError {
    /// The status, and the word for it in the body.
    fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Failed(Error::Database(error)) if error.is_unique_violation() => {
                (StatusCode::CONFLICT, "conflict")
            }
            Self::Refused(DisclosureRefused::NotAllowed) => (StatusCode::FORBIDDEN, "not_allowed"),
            Self::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Failed(Error::Open(error)) if matches!(error.cause(), OpenError::KeyUnavailable(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            Self::Failed(
                Error::Seal(SealError::KeyUnavailable(_))
                | Error::Index(IndexError::KeyUnavailable(_) | IndexError::Busy),
            ) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, word) = self.answer();
        if status.is_server_error() {
            // An error of phield shows kinds, codes and names of the schema. What sqlx itself would print can hold values
            // of plain columns.
            tracing::error!(error = %self, "a request failed");
        }
        let field = match self {
            Self::Invalid(field) => Some(field),
            _ => None,
        };
        (status, Json(json!({ "error": word, "field": field }))).into_response()
    }
}
