//! The client. It knows of a scenario: `method`, `metadata`, `timeout_ms`, and the operations
//! `send`, `recv`, `close_send`, `cancel`, `barrier`. After them it receives to the end.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, KeyAndValueRef, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use crate::codec::Raw;
use crate::lines::{barrier, emit, stdin};

/// Runs every scenario that comes, all at once, over one channel.
pub(crate) async fn run(address: String) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect_lazy();
    let mut lines = stdin();
    let tasks = LocalSet::new();
    tasks
        .run_until(async {
            while let Some(line) = lines.recv().await {
                tokio::task::spawn_local(scenario(channel.clone(), line));
            }
        })
        .await;
    tasks.await;
}

type Answer = Result<Response<Streaming<Bytes>>, Status>;

/// One call.
struct Call {
    requests: Option<UnboundedSender<Bytes>>,
    opening: Option<JoinHandle<Answer>>,
    messages: Option<Streaming<Bytes>>,
    header: Value,
    received: usize,
    sent: usize,
    /// How it ended; `Ok` is a status of 0.
    end: Option<Result<(), Status>>,
}

async fn scenario(channel: Channel, line: Value) {
    let id = line["id"].as_str().unwrap_or_default().to_owned();
    let mut call = Call::open(channel, &line);
    let mut canceled = false;
    for op in line["ops"].as_array().into_iter().flatten() {
        let n = op["n"].as_u64();
        match op["op"].as_str().unwrap_or_default() {
            "send" => {
                for _ in 0..n.unwrap_or(1) {
                    call.send(op["size"].as_u64().unwrap_or(0) as usize);
                }
            }
            "recv" => {
                let mut left = n.unwrap_or(u64::MAX);
                while left > 0 && call.receive().await {
                    left -= 1;
                }
            }
            "close_send" => call.requests = None,
            "cancel" => {
                call.cancel();
                canceled = true;
            }
            "barrier" => barrier(&id, op["name"].as_str().unwrap_or_default()).await,
            other => panic!("unknown operation {other:?}"),
        }
    }
    while !canceled && call.receive().await {}
    emit(&call.result(&id, canceled).await);
}

impl Call {
    fn open(channel: Channel, line: &Value) -> Self {
        let (requests, stream) = unbounded_channel();
        let mut request = Request::new(UnboundedReceiverStream::new(stream));
        for (key, value) in line["metadata"].as_object().into_iter().flatten() {
            let key: AsciiMetadataKey = key.parse().expect("a key");
            let value = value.as_str().unwrap_or_default();
            let value = value.parse().expect("a value");
            request.metadata_mut().insert(key, value);
        }
        if let Some(limit) = line["timeout_ms"].as_u64() {
            request.set_timeout(std::time::Duration::from_millis(limit));
        }
        let method = line["method"].as_str().unwrap_or("Bidi");
        let path = format!("/interop.Interop/{method}")
            .parse()
            .expect("a path");
        let opening = tokio::task::spawn_local(async move {
            let mut grpc = Grpc::new(channel).max_decoding_message_size(64 << 20);
            let ready = grpc.ready().await;
            ready.map_err(|error| Status::unknown(format!("not ready: {error}")))?;
            grpc.streaming(request, path, Raw).await
        });
        Self {
            requests: Some(requests),
            opening: Some(opening),
            messages: None,
            header: Value::Null,
            received: 0,
            sent: 0,
            end: None,
        }
    }

    fn send(&mut self, size: usize) {
        let payload = (0..size).map(|i| ((self.sent * 31 + i * 7) % 251) as u8);
        if let Some(requests) = &self.requests
            && requests.send(payload.collect()).is_ok()
        {
            self.sent += 1;
        }
    }

    /// Waits for one message; false at the end.
    async fn receive(&mut self) -> bool {
        if let Some(opening) = self.opening.take() {
            match opening.await.expect("the call's task") {
                Ok(response) => {
                    self.header = readable(response.metadata());
                    self.messages = Some(response.into_inner());
                }
                Err(status) => self.end = Some(Err(status)),
            }
        }
        let Some(messages) = &mut self.messages else {
            return false;
        };
        if self.end.is_some() {
            return false;
        }
        match messages.message().await {
            Ok(Some(_)) => {
                self.received += 1;
                return true;
            }
            Ok(None) => self.end = Some(Ok(())),
            Err(status) => self.end = Some(Err(status)),
        }
        false
    }

    /// What makes tonic cancel: both directions are dropped.
    fn cancel(&mut self) {
        self.requests = None;
        self.messages = None;
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
    }

    async fn result(&mut self, id: &str, canceled: bool) -> Value {
        let mut line = json!({
            "event": "result", "id": id, "recv": self.received, "sent": self.sent,
            "header": self.header,
        });
        match self.end.take() {
            None => line["kind"] = json!(if canceled { "returned" } else { "eof" }),
            Some(Ok(())) => {
                line["kind"] = json!("ok");
                if let Some(messages) = &mut self.messages
                    && let Ok(Some(trailers)) = messages.trailers().await
                {
                    line["trailer"] = readable(&trailers);
                }
            }
            Some(Err(status)) => {
                line["kind"] = json!("error");
                line["code"] = json!(i32::from(status.code()));
                line["message"] = json!(status.message());
                line["trailer"] = readable(status.metadata());
                line["details"] = details(&status);
            }
        }
        line
    }
}

/// As the library's own helper reads them.
fn details(status: &Status) -> Value {
    match status.check_error_details() {
        Err(error) => json!(format!("unreadable: {error}")),
        Ok(details) => match details.error_info() {
            Some(info) => json!([{ "type": "google.rpc.ErrorInfo", "reason": info.reason,
                "domain": info.domain, "metadata": info.metadata }]),
            None => Value::Null,
        },
    }
}

fn readable(metadata: &MetadataMap) -> Value {
    let mut out = Map::new();
    let mut add = |key: &str, value: String| {
        let values = out.entry(key.to_owned()).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(json!(value));
        }
    };
    for pair in metadata.iter() {
        match pair {
            KeyAndValueRef::Ascii(key, value) => {
                add(
                    key.as_str(),
                    String::from_utf8_lossy(value.as_encoded_bytes()).into_owned(),
                );
            }
            KeyAndValueRef::Binary(key, value) => {
                let bytes = value.to_bytes().unwrap_or_default();
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                add(key.as_str(), text);
            }
        }
    }
    Value::Object(out)
}
