//! A connection's streams, as a wire sees them: the handle that opens them, and the two halves of
//! each. Thin names for types of the `h2` crate, by the rules in `net::http2`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use super::error::{Error, ResetCode};

/// Opens the streams of a client connection. Clones share the connection. It closes when all clones
/// and streams are dropped.
#[derive(Clone, Debug)]
pub struct SendRequest(pub(super) h2::client::SendRequest<Bytes>);

impl SendRequest {
    /// Waits until this clone may open a stream. It waits only while a stream that it opened before
    /// is over the peer's limit.
    ///
    /// # Errors
    /// The connection opens no new stream: it failed, the peer sent GOAWAY, or the stream ids are
    /// used up.
    #[inline]
    pub async fn ready(self) -> Result<Self, Error> {
        self.0.ready().await.map(Self).map_err(Error)
    }

    /// Opens a stream with `request` as its HEADERS. `end_of_stream` means that no body follows. A
    /// stream over the peer's limit is queued; its HEADERS are written when another stream ends.
    ///
    /// # Errors
    /// Those of [`SendRequest::ready`], a request that HTTP/2 cannot express, and a full queue.
    /// Nothing was sent then.
    #[inline]
    pub fn send_request(
        &mut self,
        request: Request<()>,
        end_of_stream: bool,
    ) -> Result<(ResponseFuture, SendBody), Error> {
        match self.0.send_request(request, end_of_stream) {
            Ok((response, body)) => Ok((ResponseFuture(response), SendBody(body))),
            Err(error) => Err(Error(error)),
        }
    }

    /// How many streams the peer allows at once (`SETTINGS_MAX_CONCURRENT_STREAMS`). It is a guess
    /// until the peer's SETTINGS are read.
    #[inline]
    #[must_use]
    pub fn current_max_send_streams(&self) -> usize {
        self.0.current_max_send_streams()
    }
}

/// The response to a request: its HEADERS, and the body that follows. Informational responses (1xx)
/// are skipped.
///
/// The error is the stream's or the connection's ([`Error`]).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(h2::client::ResponseFuture);

impl Future for ResponseFuture {
    type Output = Result<Response<RecvBody>, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = Pin::new(&mut self.0).poll(cx);
        response.map(|response| match response {
            Ok(response) => Ok(response.map(RecvBody)),
            Err(error) => Err(Error(error)),
        })
    }
}

/// The receiving half of a stream: DATA, then trailers.
///
/// Each byte of DATA uses a byte of the stream's window and of the connection's, until
/// [`RecvBody::release_capacity`] gives it back.
#[derive(Debug)]
#[must_use = "a body that is dropped loses what the peer sent"]
pub struct RecvBody(pub(super) h2::RecvStream);

impl RecvBody {
    /// The payload of the next DATA frame, without its padding; `None` after the last one.
    ///
    /// # Errors
    /// The stream was reset or its connection lost. DATA that came before is returned first.
    #[inline]
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.0.poll_data(cx).map_err(Error)
    }

    /// The trailers, if the peer sent any. Call it after [`RecvBody::poll_data`] has returned
    /// `None`.
    ///
    /// # Errors
    /// Those of [`RecvBody::poll_data`].
    #[inline]
    pub fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, Error>> {
        self.0.poll_trailers(cx).map_err(Error)
    }

    /// Gives `bytes` bytes of DATA back to the stream's window and to the connection's. The layer
    /// sends WINDOW_UPDATE when enough has come together. To give back more than was taken is a
    /// mistake, and changes nothing. Dropping the stream's last handle gives the rest back.
    #[inline]
    pub fn release_capacity(&mut self, bytes: usize) {
        let _ = self.0.flow_control().release_capacity(bytes);
    }

    /// Whether the peer has ended the stream and neither DATA nor trailers are left to read.
    #[inline]
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// The sending half of a stream: DATA, then trailers, or a reset in place of the rest.
#[derive(Debug)]
pub struct SendBody(h2::SendStream<Bytes>);

impl SendBody {
    /// Asks for capacity to send `bytes` bytes beyond what is queued. A second call replaces the
    /// first; asking for less gives the rest to the other streams. The layer grants capacity bit by
    /// bit, from the peer's windows and from its own send buffer
    /// ([`Http2Config::send_buffer`](super::Http2Config::send_buffer)).
    #[inline]
    pub fn reserve_capacity(&mut self, bytes: usize) {
        self.0.reserve_capacity(bytes);
    }

    /// The stream's number on its connection (RFC 9113, 5.1.1).
    #[inline]
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.stream_id().as_u32()
    }

    /// How many bytes can be sent now: asked for and granted.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Ready with the new value when [`SendBody::capacity`] has grown; `None` when nothing can be
    /// sent any more.
    ///
    /// # Errors
    /// The stream was reset or its connection lost.
    #[inline]
    pub fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<usize, Error>>> {
        self.0.poll_capacity(cx).map_err(Error)
    }

    /// Queues `data` as DATA, in as many frames as the peer's frame size and windows need. With
    /// `end_of_stream` the last one ends the stream. What is over the capacity waits in the layer
    /// without a bound, so ask for capacity first.
    ///
    /// The layer drops `data` when it has written all of it, or when the stream failed.
    ///
    /// # Errors
    /// The sending half is closed. Nothing was queued.
    #[inline]
    pub fn send_data(&mut self, data: Bytes, end_of_stream: bool) -> Result<(), Error> {
        self.0.send_data(data, end_of_stream).map_err(Error)
    }

    /// Ends the stream with `trailers`, after the DATA that is queued.
    ///
    /// # Errors
    /// Those of [`SendBody::send_data`].
    #[inline]
    pub fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), Error> {
        self.0.send_trailers(trailers).map_err(Error)
    }

    /// Ends the whole stream with RST_STREAM and drops queued DATA. When the stream is over
    /// already, nothing is sent.
    #[inline]
    pub fn send_reset(&mut self, code: ResetCode) {
        self.0.send_reset(code.0.into());
    }

    /// Ready when the stream was reset or ended by GOAWAY, with the code.
    ///
    /// # Errors
    /// The connection was lost.
    #[inline]
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResetCode, Error>> {
        reset(self.0.poll_reset(cx))
    }
}

/// Answers one request, as the server.
#[derive(Debug)]
pub struct Respond(pub(super) h2::server::SendResponse<Bytes>);

impl Respond {
    /// Sends `response` as HEADERS, and returns the half that sends its body. With `end_of_stream`
    /// there is no body. A stream has one response.
    ///
    /// # Errors
    /// The stream is over, or has its response. Nothing was sent.
    #[inline]
    pub fn send_response(
        &mut self,
        response: Response<()>,
        end_of_stream: bool,
    ) -> Result<SendBody, Error> {
        match self.0.send_response(response, end_of_stream) {
            Ok(body) => Ok(SendBody(body)),
            Err(error) => Err(Error(error)),
        }
    }

    /// Ready with the code when the stream was reset, or ended by GOAWAY. It serves the time before
    /// the response; later use [`SendBody::poll_reset`].
    ///
    /// # Errors
    /// The connection was lost, or the response was sent.
    #[inline]
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResetCode, Error>> {
        reset(self.0.poll_reset(cx))
    }
}

#[inline]
fn reset(polled: Poll<Result<h2::Reason, h2::Error>>) -> Poll<Result<ResetCode, Error>> {
    polled.map(|reset| match reset {
        Ok(reason) => Ok(ResetCode(reason.into())),
        Err(error) => Err(Error(error)),
    })
}
