//! Tells a client that there is no place for it, in the protocol that it speaks.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::protocol::proto::messages::{Code, Error};
use crate::protocol::proto::reply;
use crate::protocol::resp::{ReplyError, RespReplies, RespVersion};

/// How many clients can be told so at a time; others are turned away without a word.
pub(crate) const PLACES: usize = 64;

/// How long a client has for its first byte, and then for closing the connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is read and thrown away: unread bytes would take back what the client is told.
const REST_BYTES_MAX: u64 = 64 << 10;

/// Waits for the first byte, tells the client, and waits until it has closed the connection; each
/// not for long.
pub(crate) async fn tell(mut stream: TcpStream) {
    let mut first = [u8::MAX];
    let _ = timeout(PATIENCE, stream.peek(&mut first)).await;
    let text = match first {
        [0] => {
            let mut frame = Vec::new();
            let error = Error::new(Code::TooManyConnections, "there are too many connections");
            reply::put_error(&mut frame, 0, error);
            frame
        }
        // One that has said nothing, too.
        _ => {
            let mut replies = RespReplies::new(RespVersion::Two);
            replies.error(&ReplyError::TOO_MANY_CLIENTS);
            replies.as_bytes().to_vec()
        }
    };
    // What becomes of it is the client's concern.
    let _ = timeout(PATIENCE, async {
        stream.write_all(&text).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(REST_BYTES_MAX), &mut sink()).await
    })
    .await;
}
