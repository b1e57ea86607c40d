//! The calls of a client that write.

use super::KvsClient;
use super::answer::{Answer, unexpected};
use super::call::Repeat;
use super::error::{ErrorCode, Result};
use crate::batch::{Batch, Expected, Operation};
use crate::options::{Expiry, SetOptions, WriteOptions};
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    self, AppendRequest, BatchRequest, CompareAndSwapRequest, ExpireRequest, IncrementRequest,
    Precondition, RemoveOperation, RemoveRequest, SetOperation, SetRequest, WriteResponse,
};
use crate::protocol::proto::parts::durability_number;
use crate::store::{Versioned, Written};

/// What came of a compare-and-swap.
///
/// ```no_run
/// use kvs::client::{BlockingKvsClient, Swap};
/// let client = BlockingKvsClient::connect("127.0.0.1:4000")?;
/// match client.compare_and_swap("leader", kvs::Expected::Absent, Some("me"))? {
///     Swap::Done(written) => println!("with version {}", written.seq),
///     Swap::Refused(current) => println!("it is {:?}", current.map(|found| found.value)),
/// }
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The key was as expected, and was written.
    Done(
        /// What the write did.
        Written,
    ),
    /// It was not, and nothing was written.
    Refused(
        /// What the key has; none: no value.
        Option<Versioned>,
    ),
}

impl KvsClient {
    /// Gives a key a value. It does not expire, even if it did before.
    ///
    /// When this returns, the write is as durable as the server was started to make it.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get); `KeyTooLarge`, `ValueTooLarge`, `DiskFull`, `Poisoned`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// client.set("city", "Utrecht").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written> {
        let asked = set_request(key.as_ref(), value.as_ref());
        written(self.caller.call(Asked::Set(asked), Repeat::Never).await?)
    }

    /// Gives a key a value, with an expiry, a condition or another durability. None: the condition
    /// does not hold, and nothing was written.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set); `InvalidExpiry`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let lease = kvs::SetOptions::new().if_absent().expire_after_ms(30_000);
    /// assert!(client.set_with("lock", "me", lease).await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<Option<Written>> {
        let condition = options
            .if_present
            .map(|present| if present { Expected::Present } else { Expected::Absent });
        let asked = SetRequest {
            expiry: (options.expiry != Expiry::Never).then(|| options.expiry.into()),
            condition: condition.map(Expected::into),
            durability: durability_number(options.write.durability),
            ..set_request(key.as_ref(), value.as_ref())
        };
        unless_refused(self.caller.call(Asked::Set(asked), Repeat::Never).await)
    }

    /// Removes a key. That it does not exist is no error.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// assert!(!client.remove("nowhere").await?.existed);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<Written> {
        self.remove_opt(key, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`remove`](KvsClient::remove).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.remove_opt("city", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_opt(
        &self,
        key: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Written> {
        let key = key.as_ref().to_vec().into();
        let durability = durability_number(options.durability);
        let asked = Asked::Remove(RemoveRequest { key, durability, ..RemoveRequest::default() });
        written(self.caller.call(asked, Repeat::Never).await?)
    }

    /// Writes a batch, all or nothing.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set); `PreconditionFailed`, `BatchTooLarge`, `InvalidExpiry`,
    /// `InvalidRequest` for more than 100,000 operations and requirements, which are not sent.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let mut batch = kvs::Batch::new();
    /// batch.require("a", kvs::Expected::Absent).set("a", "1").remove("b");
    /// client.write(&batch).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write(&self, batch: &Batch) -> Result<Written> {
        self.write_opt(batch, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`write`](KvsClient::write).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let mut batch = kvs::Batch::new();
    /// batch.set("a", "1");
    /// client.write_opt(&batch, WriteOptions::new().durability(Durability::Always)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_opt(&self, batch: &Batch, options: WriteOptions) -> Result<Written> {
        self.caller.check_elements(batch.len() + batch.requirements().len())?;
        let requirements = batch.requirements().iter();
        let preconditions = requirements.map(|required| Precondition {
            key: required.key.clone().into(),
            condition: Some(required.expected.clone().into()),
        });
        let asked = BatchRequest {
            preconditions: preconditions.collect(),
            operations: batch.iter().map(operation).collect(),
            durability: durability_number(options.durability),
        };
        written(self.caller.call(Asked::Batch(asked), Repeat::Never).await?)
    }

    /// Gives a key a value, or with none removes it, if it is as expected. It does not expire
    /// afterwards.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Expected, client::Swap};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let version = client.set("key", "1").await?.seq;
    /// let swap = client.compare_and_swap("key", Expected::Version(version), Some("2")).await?;
    /// assert!(matches!(swap, Swap::Done(_)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<Swap> {
        self.compare_and_swap_opt(key, expected, new, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`compare_and_swap`](KvsClient::compare_and_swap).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.compare_and_swap_opt("lock", kvs::Expected::Absent, Some("me"), options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn compare_and_swap_opt(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        new: Option<impl AsRef<[u8]>>,
        options: WriteOptions,
    ) -> Result<Swap> {
        let repeat = match expected {
            Expected::Version(_) => Repeat::OnItsVersion,
            _ => Repeat::Never,
        };
        let asked = CompareAndSwapRequest {
            key: key.as_ref().to_vec().into(),
            expected: Some(expected.into()),
            value: new.map(|value| value.as_ref().to_vec().into()),
            durability: durability_number(options.durability),
            ..CompareAndSwapRequest::default()
        };
        let asked = Asked::CompareAndSwap(asked);
        let answer = self.caller.call(asked, repeat).await?.compare_and_swap()?;
        Ok(match answer.written {
            Some(written) => Swap::Done(written.into()),
            None => Swap::Refused(answer.current.map(Versioned::from)),
        })
    }

    /// Adds to a number that is kept as decimal digits; a key that is not there counts as 0. The
    /// expiry stays. Answers with the sum.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set); `NotAnInteger`, `IntegerOverflow`: the value is as it was.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// println!("{} visits", client.increment("visits", 1).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        self.increment_opt(key, by, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`increment`](KvsClient::increment).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.increment_opt("visits", 1, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn increment_opt(
        &self,
        key: impl AsRef<[u8]>,
        by: i64,
        options: WriteOptions,
    ) -> Result<i64> {
        let key = key.as_ref().to_vec().into();
        let durability = durability_number(options.durability);
        let asked = Asked::Increment(IncrementRequest { key, by, durability });
        Ok(self.caller.call(asked, Repeat::Never).await?.increment()?.sum)
    }

    /// Puts bytes behind the value of a key; a key that is not there counts as empty. The expiry
    /// stays. Answers with the length of the new value in bytes.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// client.append("log", "one line\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn append(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64> {
        self.append_opt(key, value, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`append`](KvsClient::append).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.append_opt("log", "one line\n", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn append_opt(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<u64> {
        let (key, value) = (key.as_ref().to_vec().into(), value.as_ref().to_vec().into());
        let durability = durability_number(options.durability);
        let asked = Asked::Append(AppendRequest { key, value, durability });
        Ok(self.caller.call(asked, Repeat::Never).await?.append()?.value_bytes)
    }

    /// Lets a key expire at a time, in milliseconds since 1970-01-01 UTC. False: it has no value.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set); `InvalidExpiry` if that is in the past.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// client.set("session", "alice").await?;
    /// assert!(client.expire_at("session", 4_102_444_800_000).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn expire_at(&self, key: impl AsRef<[u8]>, at_ms: u64) -> Result<bool> {
        self.expire_at_opt(key, at_ms, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`expire_at`](KvsClient::expire_at).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.expire_at_opt("session", 4_102_444_800_000, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn expire_at_opt(
        &self,
        key: impl AsRef<[u8]>,
        at_ms: u64,
        options: WriteOptions,
    ) -> Result<bool> {
        self.expire(key.as_ref(), Expiry::AtMs(at_ms), options).await
    }

    /// Lets a key expire so many milliseconds from now, by the clock of the server; at least 1.
    /// False: it has no value.
    ///
    /// # Errors
    /// As [`expire_at`](KvsClient::expire_at).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// assert!(!client.expire_after("nowhere", 1000).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn expire_after(&self, key: impl AsRef<[u8]>, ms: u64) -> Result<bool> {
        self.expire_after_opt(key, ms, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`expire_after`](KvsClient::expire_after).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.expire_after_opt("session", 60_000, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn expire_after_opt(
        &self,
        key: impl AsRef<[u8]>,
        ms: u64,
        options: WriteOptions,
    ) -> Result<bool> {
        self.expire(key.as_ref(), Expiry::AfterMs(ms), options).await
    }

    /// Takes the expiry of a key away. False: it has no value.
    ///
    /// # Errors
    /// As [`set`](KvsClient::set).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// assert!(!client.persist("nowhere").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.persist_opt(key, WriteOptions::new()).await
    }

    /// The same with another durability.
    ///
    /// # Errors
    /// As [`persist`](KvsClient::persist).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::{Durability, WriteOptions};
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.persist_opt("session", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn persist_opt(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<bool> {
        self.expire(key.as_ref(), Expiry::Never, options).await
    }

    async fn expire(&self, key: &[u8], expiry: Expiry, options: WriteOptions) -> Result<bool> {
        let (key, expiry) = (key.to_vec().into(), Some(expiry.into()));
        let durability = durability_number(options.durability);
        let asked = Asked::Expire(ExpireRequest { key, expiry, durability });
        Ok(self.caller.call(asked, Repeat::Never).await?.expire()?.existed)
    }
}

fn set_request(key: &[u8], value: &[u8]) -> SetRequest {
    let (key, value) = (key.to_vec().into(), value.to_vec().into());
    SetRequest { key, value, ..SetRequest::default() }
}

fn operation(operation: Operation<'_>) -> messages::Operation {
    let kind = match operation {
        Operation::Set { key, value, expires_at_ms } => {
            messages::operation::Kind::Set(SetOperation {
                key: key.to_vec().into(),
                value: value.to_vec().into(),
                expiry: expires_at_ms.map(|at_ms| Expiry::AtMs(at_ms).into()),
            })
        }
        Operation::Remove { key } => {
            messages::operation::Kind::Remove(RemoveOperation { key: key.to_vec().into() })
        }
    };
    messages::Operation { kind: Some(kind) }
}

fn written(answer: Kind) -> Result<Written> {
    let written: WriteResponse = answer.write()?;
    if written.seq == u64::MAX {
        return Err(unexpected("a write without its seq"));
    }
    Ok(written.into())
}

/// None for a write that was refused because of what it depends on.
fn unless_refused(answer: Result<Kind>) -> Result<Option<Written>> {
    match answer {
        Err(error) if error.code() == ErrorCode::PreconditionFailed => Ok(None),
        answer => written(answer?).map(Some),
    }
}
