//! What went wrong at KMS, and what it means for the ring.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId as _;
use phield_core::{ProviderError, ProviderErrorKind};

/// Longest message of KMS that is kept.
const MAX_MESSAGE: usize = 500;

/// What KMS, or the way to it, said: the source of a [`ProviderError`].
///
/// # Security
/// The errors of the SDK are not kept: they hold requests and answers, and so keys. This holds the code, the HTTP status
/// and the request id; and KMS's own words where it refuses access, which name the caller and the key.
#[derive(Debug)]
#[non_exhaustive]
pub struct KmsFailure {
    kind: ProviderErrorKind,
    what: What,
    status: Option<u16>,
    request_id: Option<String>,
}

#[derive(Debug)]
enum What {
    /// The code of KMS's answer, and its words.
    Code(String, Option<String>),
    /// No answer of KMS: what happened instead.
    NoAnswer(&'static str, Option<String>),
}

impl KmsFailure {
    pub(crate) fn new(kind: ProviderErrorKind, what: &'static str) -> Self {
        Self {
            kind,
            what: What::NoAnswer(what, None),
            status: None,
            request_id: None,
        }
    }

    /// Reads an error of the SDK, and drops it.
    pub(crate) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let (answer, raw) = (answer.err(), answer.raw());
                Self {
                    request_id: answer.meta().request_id().map(|id| printable(id, 64)),
                    ..Self::answer(answer.code(), answer.message(), raw.status().as_u16())
                }
            }
            SdkError::TimeoutError(_) => {
                Self::new(ProviderErrorKind::Unavailable, "KMS did not answer in time")
            }
            SdkError::DispatchFailure(failure) => failure.as_connector_error().map_or_else(
                || Self::new(ProviderErrorKind::Unavailable, "KMS cannot be reached"),
                |error| Self::unsent(error.is_timeout(), error.is_io(), error),
            ),
            SdkError::ResponseError(answer) => Self {
                status: Some(answer.raw().status().as_u16()),
                ..Self::new(ProviderErrorKind::Unavailable, "the answer is not one of KMS")
            },
            _ => Self::new(ProviderErrorKind::Unavailable, "the call could not be made"),
        }
    }

    fn answer(code: Option<&str>, message: Option<&str>, status: u16) -> Self {
        let Some(code) = code else {
            // A proxy or load balancer on the way: KMS gives a code with every error.
            return Self {
                status: Some(status),
                ..Self::new(ProviderErrorKind::Unavailable, "the answer is not one of KMS")
            };
        };
        let kind = kind_of(code, message.unwrap_or_default(), status);
        // Other words may repeat what was sent.
        let message =
            message.filter(|_| kind == ProviderErrorKind::Refused && code != "InvalidGrantTokenException");
        Self {
            kind,
            what: What::Code(
                printable(code, 100),
                message.map(|message| printable(message, MAX_MESSAGE)),
            ),
            status: Some(status),
            request_id: None,
        }
    }

    /// A call that did not get as far as an answer: no credentials, no connection.
    fn unsent(is_timeout: bool, is_io: bool, error: &(dyn Error + 'static)) -> Self {
        let what = match causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
            Some(CredentialsError::CredentialsNotLoaded(_)) => "no credentials of AWS were found",
            Some(CredentialsError::ProviderTimedOut(_)) => "the credentials of AWS did not come in time",
            Some(CredentialsError::InvalidConfiguration(_)) => {
                "the configuration of AWS credentials is wrong"
            }
            Some(_) => "the credentials of AWS could not be fetched",
            None if is_timeout => "KMS did not answer in time",
            None if is_io => "KMS cannot be reached",
            None => "the call did not get through to KMS",
        };
        let io = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>());
        Self {
            what: What::NoAnswer(what, io.map(|io| io.kind().to_string())),
            ..Self::new(ProviderErrorKind::Unavailable, what)
        }
    }

    /// What it means for the ring.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// The code of KMS: `AccessDeniedException`. `None` when KMS did not answer.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.what {
            What::Code(code, _) => Some(code),
            What::NoAnswer(..) => None,
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The id by which AWS finds the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    pub(crate) fn during(self, call: &'static str) -> ProviderError {
        ProviderError::new(self.kind, call).with_source(self)
    }
}

impl fmt::Display for KmsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Code(code, Some(message)) => write!(f, "{code}: {message}")?,
            What::Code(text, None) => f.write_str(text)?,
            What::NoAnswer(what, Some(cause)) => write!(f, "{what}: {cause}")?,
            What::NoAnswer(what, None) => f.write_str(what)?,
        }
        if let Some(status) = self.status {
            write!(f, " (HTTP {status}")?;
            if let Some(id) = &self.request_id {
                write!(f, ", request {id}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl Error for KmsFailure {}

/// What an error code means for the ring. The table stands in the documentation of this crate.
fn kind_of(code: &str, message: &str, status: u16) -> ProviderErrorKind {
    match code {
        "AccessDeniedException"
        | "DisabledException"
        | "KMSInvalidStateException"
        | "InvalidGrantTokenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "NotAuthorized"
        | "OptInRequired" => ProviderErrorKind::Refused,
        // A signature that has expired, or is not valid yet, is a wrong clock; one that does not match is a wrong secret.
        "InvalidSignatureException" if message.contains("expired") || message.contains("not yet current") => {
            ProviderErrorKind::Unavailable
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" => ProviderErrorKind::Refused,
        "InvalidCiphertextException" | "IncorrectKeyException" => ProviderErrorKind::Authentication,
        "NotFoundException" | "InvalidKeyUsageException" | "InvalidArnException" | "ValidationException" => {
            ProviderErrorKind::UnknownKek
        }
        "UnsupportedOperationException" => ProviderErrorKind::Unsupported,
        // Session credentials that ended and were not renewed in time: whoever revokes them gets AccessDenied instead.
        "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "KMSInternalException"
        | "DependencyTimeoutException"
        | "KeyUnavailableException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalFailure"
        | "InternalServerError" => ProviderErrorKind::Unavailable,
        _ if status >= 500 || status == 408 || status == 429 => ProviderErrorKind::Unavailable,
        _ => ProviderErrorKind::Refused,
    }
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// At most `limit` bytes of printable ASCII: it goes into terminals and logs.
fn printable(text: &str, limit: usize) -> String {
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(limit).map(printable).collect()
}
