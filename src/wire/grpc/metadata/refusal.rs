//! The answer to a request that is not gRPC, as a gRPC server gives it.
//!
//! The sources are grpc-go `internal/transport/http2_server.go` (`operateHeaders`) and
//! PROTOCOL-HTTP2.md.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::stream::Payload;
use crate::wire::grpc::keys;
use crate::wire::grpc::metadata::{put, put_payload};
use crate::wire::grpc::status::{Code, encode_message};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The method is not POST.
    #[error("gRPC requests are POST")]
    Method,
    /// The content type is not `application/grpc`.
    #[error("content-type is not application/grpc")]
    ContentType,
    /// There is no `te: trailers`: a proxy between drops trailers.
    #[error("te is not trailers")]
    Te,
    /// The path is not `/service/method`.
    #[error("malformed method name: {0:?}")]
    Path(String),
    /// The timeout cannot be read.
    #[error("malformed grpc-timeout")]
    Timeout,
}

/// The text for people who call a gRPC port with something else.
macro_rules! explained {
    ($why:literal) => {
        concat!(
            "This is ripcord, a proxy for gRPC: it takes POST requests with the content-type \
             application/grpc. ",
            $why,
            "\nUse a gRPC client.\n"
        )
    };
}

/// A refusal. A peer that speaks gRPC gets it in one HEADERS block with END_STREAM. Another one
/// also gets a [`Refusal::body`].
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

    /// A text for people, if the peer does not speak gRPC.
    #[must_use]
    pub fn body(&self) -> Option<&'static str> {
        match self.why {
            Refused::Method => Some(explained!("The method of this request is not POST.")),
            Refused::ContentType => Some(explained!(
                "The content-type of this request is not application/grpc."
            )),
            Refused::Te | Refused::Path(_) | Refused::Timeout => None,
        }
    }

    /// The answer, without its body.
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
        if self.body().is_some() {
            put(headers, CONTENT_TYPE, "text/plain; charset=utf-8");
        }
        if self.why == Refused::Method {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
