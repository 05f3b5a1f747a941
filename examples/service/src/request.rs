//! What stands around the handlers: extractors and a log that repeat nothing of a request, and what happens on a panic.

use std::any::Any;
use std::time::Instant;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, body::Bytes};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::ApiError;

/// A JSON body. In the place of [`axum::Json`], whose rejection quotes the body in its answer, and in the log at level
/// `TRACE`.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a wrapper that handlers take apart")]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let media_type = content_type.map(|value| value.as_bytes().split(|b| *b == b';').next());
        if media_type.flatten().map(<[u8]>::trim_ascii) != Some(b"application/json") {
            return Err(ApiError::NotJson);
        }
        // A rejection of axum is written to the log when it becomes an answer: here it never does.
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| match rejection {
                BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                    ApiError::TooLarge
                }
                _ => ApiError::BadRequest,
            })?;
        // What serde says quotes what it read. `Phi` does not, but a text where an object should be is not in one yet.
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| ApiError::BadRequest)
    }
}

/// The id in the path of a patient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PatientId(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PatientId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // What is no id is the id of nobody.
        let id = Path::<Uuid>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| ApiError::NotFound)
    }
}

/// Logs a request by its route (`/patients/{id}`) and an id made here: never by its path, query, headers or body, any
/// of which a client can put a name or a number into. The id goes back with the answer, which nobody may keep.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let id = Uuid::new_v4();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", %id, method = known(request.method()), route);
    async move {
        let started = Instant::now();
        let mut response = next.run(request).await;
        let (status, took) = (response.status().as_u16(), started.elapsed());
        tracing::info!(status, ?took, "answered");
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert("x-request-id", id);
        }
        response
    }
    .instrument(span)
    .await
}

/// Reads a request whole before anything answers it, up to a limit in bytes beyond which the connection is worth less
/// than the reading. An answer in the middle of a body (to an id that is none, to a type that is not JSON) makes hyper
/// close the connection, and the client's next request on it fails.
pub(crate) async fn read_body(
    State(limit): State<usize>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, limit).await;
    // It is too large, or the client is gone and reads no answer.
    let body = body.map_err(|_| ApiError::TooLarge)?;
    Ok(next.run(Request::from_parts(parts, body.into())).await)
}

/// A method that HTTP defines; a client can send any other word as one.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::OPTIONS
        | Method::PATCH
        | Method::CONNECT
        | Method::TRACE => method.as_str(),
        _ => "other",
    }
}

/// The answer to a request whose handler panicked. The message of the panic, which can repeat a value, goes nowhere.
pub(crate) fn answer_panic(_message: Box<dyn Any + Send + 'static>) -> Response {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        Json(json!({ "error": "failed" })),
    )
        .into_response()
}

/// From now on panics are logged by their place in the source alone. Rust prints the message on the standard error:
/// `panic!("no such name: {}", name.expose())`.
pub fn log_panics_without_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic
            .location()
            .map_or(("", 0), |place| (place.file(), place.line()));
        tracing::error!(file, line, "panicked");
    }));
}
