//! What a gRPC server answers to a request that is not gRPC.
//!
//! Follows grpc-go `internal/transport/http2_server.go` (`operateHeaders`) and PROTOCOL-HTTP2.md.

use http::header::{ALLOW, HeaderValue};
use http::{Response, StatusCode};

use crate::stream::Payload;
use crate::wire::grpc::keys;
use crate::wire::grpc::metadata::{put, put_payload};
use crate::wire::grpc::status::{Code, encode_message};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Not POST.
    #[error("gRPC requests are POST")]
    Method,
    /// Not `application/grpc`.
    #[error("content-type is not application/grpc")]
    ContentType,
    /// A proxy in the middle drops trailers.
    #[error("te is not trailers")]
    Te,
    /// No `/service/method`.
    #[error("malformed method name: {0:?}")]
    Path(String),
    /// Unreadable.
    #[error("malformed grpc-timeout")]
    Timeout,
}

/// A refusal, to be written as one HEADERS block with END_STREAM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    why: Refused,
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        Self { why }
    }
}

impl Refusal {
    /// The HTTP status: 405 or 415 for what is not gRPC at all, else 200.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        match self.why {
            Refused::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refused::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::Te | Refused::Path(_) | Refused::Timeout => StatusCode::OK,
        }
    }

    /// The gRPC status, for a peer that speaks gRPC.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.why.code()
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.http_status();
        *response.version_mut() = http::Version::HTTP_2;
        let headers = response.headers_mut();
        if let Some(code) = self.code() {
            put_payload(headers, &Payload::Protobuf);
            put(headers, keys::names::STATUS, &code.number().to_string());
            put(
                headers,
                keys::names::MESSAGE,
                &encode_message(&self.to_string()),
            );
        }
        if self.why == Refused::Method {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
