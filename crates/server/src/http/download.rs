//! An answer that is too long for memory: its body is handed on as it comes.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::{CallError, Connection, Limited, Request, Response, describe};

impl Connection {
    /// Sends a request and hands the body of a success to `sink`, piece by piece; any other answer is read as by
    /// [`send`](Connection::send). The head has until `deadline`, and each piece `stall_max`. After an error the connection cannot be used
    /// again, and what the sink has is not whole.
    pub async fn download(
        &mut self,
        request: &Request,
        deadline: Instant,
        stall_max: Duration,
        mut sink: impl FnMut(&Bytes) -> io::Result<()>,
    ) -> Result<Response, CallError> {
        let Self { endpoint, sender, driver } = self;
        let lost = |detail: String| CallError::Lost { endpoint: endpoint.clone(), detail };
        let built =
            request.build(endpoint).map_err(|error| lost(format!("the request cannot be sent: {error}")))?;
        let answer = async {
            let late = |_| "did not answer in time".to_owned();
            let answered = timeout_at(deadline, sender.send_request(built)).await.map_err(late)?;
            let (head, mut body) =
                answered.map_err(|error| format!("broke off: {}", describe(&error)))?.into_parts();
            let mut kept = Bytes::new();
            if head.status.is_success() {
                while let Some(frame) = timeout(stall_max, body.frame())
                    .await
                    .map_err(|_| format!("sent nothing for {} s", stall_max.as_secs()))?
                {
                    let frame = frame.map_err(|error| format!("broke off: {}", describe(&error)))?;
                    if let Some(bytes) = frame.data_ref() {
                        sink(bytes).map_err(|error| format!("what it sends cannot be written: {error}"))?;
                    }
                }
            } else {
                let body = timeout(stall_max, Limited::new(body, request.answer_bytes_max).collect()).await;
                let body = body.map_err(late)?;
                kept = body.map_err(|error| error.to_string())?.to_bytes();
            }
            Ok::<_, String>(Response { status: head.status, headers: head.headers, body: kept })
        };
        let mut answer = pin!(answer);
        let mut driving = true;
        loop {
            tokio::select! {
                answer = &mut answer => return answer.map_err(lost),
                _ = &mut *driver, if driving => driving = false,
            }
        }
    }
}
