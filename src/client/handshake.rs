//! The first words of a connection: hello, and the password if there is one.

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::error::{ClientError, Result, ServerError};
use super::options::ClientOptions;
use super::transport::{Socket, Transport};
use crate::protocol::frame::{self, FIRST_FRAME_BYTES_MAX, to_u64};
use crate::protocol::proto::VERSION;
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    AuthRequest, HelloRequest, HelloResponse, Request, Response,
};

/// A stream on which requests can be sent.
pub(crate) struct Greeted {
    pub(crate) socket: Box<dyn Socket>,
    /// What was read beyond the first responses.
    pub(crate) read: BytesMut,
    pub(crate) hello: HelloResponse,
}

/// Connects, says hello and gives the password, within the time that there is for it.
pub(crate) async fn connect(transport: &Transport, options: &ClientOptions) -> Result<Greeted> {
    let greeting = async {
        let socket = transport.connect().await?;
        greet(socket, transport, options).await
    };
    let timed = timeout(options.connect_timeout, greeting).await;
    timed.unwrap_or_else(|_| Err(transport.error(std::io::ErrorKind::TimedOut.into())))
}

async fn greet(
    mut socket: Box<dyn Socket>,
    transport: &Transport,
    options: &ClientOptions,
) -> Result<Greeted> {
    let mut out = Vec::new();
    let hello = HelloRequest {
        version_min: VERSION,
        version_max: VERSION,
        software: "kvs".to_owned(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        frame_bytes_max: to_u64(options.frame_bytes_max),
    };
    put(&mut out, 1, Asked::Hello(hello))?;
    if let Some(password) = &options.password {
        put(&mut out, 2, Asked::Auth(AuthRequest { password: password.clone().into() }))?;
    }
    socket.write_all(&out).await.map_err(|error| transport.error(error))?;
    socket.flush().await.map_err(|error| transport.error(error))?;
    let mut read = BytesMut::new();
    let hello = match response(&mut socket, &mut read, transport).await? {
        Kind::Hello(hello) if hello.version == VERSION => hello,
        Kind::Hello(hello) => {
            let reason = format!("it speaks version {} of the protocol", hello.version);
            return Err(not_kvs(transport, reason));
        }
        _ => return Err(not_kvs(transport, "another answer than to the hello")),
    };
    if options.password.is_some() {
        match response(&mut socket, &mut read, transport).await? {
            Kind::Auth(_) => {}
            _ => return Err(not_kvs(transport, "another answer than to the password")),
        }
    } else if hello.auth_required {
        let error = crate::protocol::proto::messages::Error::new(
            super::ErrorCode::AuthRequired,
            "the server wants a password",
        );
        return Err(ServerError::from(error).into());
    }
    Ok(Greeted { socket, read, hello })
}

fn put(out: &mut Vec<u8>, id: u64, kind: Asked) -> Result<()> {
    let request = Request { id, kind: Some(kind) };
    frame::put(out, FIRST_FRAME_BYTES_MAX, |out| request.encode_raw(out))
        .map_err(|over| ClientError::TooLarge { bytes: over.bytes, limit: over.limit })
}

/// The next response, read to its end.
async fn response(
    socket: &mut Box<dyn Socket>,
    read: &mut BytesMut,
    transport: &Transport,
) -> Result<Kind> {
    let frame: Bytes = loop {
        let taken = frame::take(read, FIRST_FRAME_BYTES_MAX);
        match taken.map_err(|error| not_kvs(transport, error.to_string()))? {
            Some(frame) => break frame,
            None => read.reserve(1 << 10),
        }
        if socket.read_buf(read).await.map_err(|error| transport.error(error))? == 0 {
            return Err(not_kvs(transport, "it closes the connection"));
        }
    };
    let response =
        Response::decode(frame).map_err(|error| not_kvs(transport, error.to_string()))?;
    match response.kind {
        Some(Kind::Error(error)) => Err(ServerError::from(error).into()),
        Some(kind) => Ok(kind),
        None => Err(not_kvs(transport, "an answer of no known kind")),
    }
}

fn not_kvs(transport: &Transport, reason: impl Into<String>) -> ClientError {
    ClientError::NotKvs { addr: transport.addr.clone(), reason: reason.into() }
}
