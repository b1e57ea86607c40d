//! Answers, each of the kind that was asked for.

use super::error::{ClientError, ErrorCode, Result, ServerError};
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    AppendResponse, CompareAndSwapResponse, Error, ExpireResponse, GetManyResponse, GetResponse,
    IncrementResponse, PingResponse, StatsResponse, SyncResponse, WriteResponse,
};

/// That a server answered something else than what it was asked.
pub(super) fn unexpected(what: &str) -> ClientError {
    let text = format!("the server answered with {what}");
    ServerError::from(Error::new(ErrorCode::Internal, text)).into()
}

/// An answer as the kind that was asked for.
pub(super) trait Answer: Sized {
    fn get(self) -> Result<GetResponse>;
    fn get_many(self) -> Result<GetManyResponse>;
    fn write(self) -> Result<WriteResponse>;
    fn compare_and_swap(self) -> Result<CompareAndSwapResponse>;
    fn increment(self) -> Result<IncrementResponse>;
    fn append(self) -> Result<AppendResponse>;
    fn expire(self) -> Result<ExpireResponse>;
    fn stats(self) -> Result<StatsResponse>;
    fn sync(self) -> Result<SyncResponse>;
    fn ping(self) -> Result<PingResponse>;
}

macro_rules! answers {
    ($($name:ident: $kind:ident($message:ident);)+) => {
        impl Answer for Kind {
            $(fn $name(self) -> Result<$message> {
                match self {
                    Kind::$kind(message) => Ok(message),
                    _ => Err(unexpected("something else than what it was asked")),
                }
            })+
        }
    };
}

answers! {
    get: Get(GetResponse);
    get_many: GetMany(GetManyResponse);
    write: Write(WriteResponse);
    compare_and_swap: CompareAndSwap(CompareAndSwapResponse);
    increment: Increment(IncrementResponse);
    append: Append(AppendResponse);
    expire: Expire(ExpireResponse);
    stats: Stats(StatsResponse);
    sync: Sync(SyncResponse);
    ping: Ping(PingResponse);
}
