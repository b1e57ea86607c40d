//! `Command`: a request that was understood.

use std::fmt::{self, Formatter};

use bytes::Bytes;

use super::introspection::Introspection;
use super::replies::RespVersion;
use super::string_step::StringStep;

/// How many databases there are, numbered from 0.
pub const DATABASES: u32 = 1;

/// A request that was understood: a step on keys and values, or something that the server does
/// itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A step on keys and values.
    Step(StringStep),
    /// Says `PONG`, or what it is given.
    Ping(Option<Bytes>),
    /// Says what it is given.
    Echo(Bytes),
    /// Ends the connection.
    Quit,
    /// Makes the connection as it was at its beginning.
    Reset,
    /// Chooses the version of the protocol, and may log in.
    Hello(Box<Hello>),
    /// Logs in.
    Auth(Credentials),
    /// Chooses a database, one that there is.
    Select(u32),
    /// What time it is.
    Time,
    /// About connections.
    Client(ClientCommand),
    /// About the commands themselves.
    Introspect(Introspection),
    /// About the configuration.
    Config(ConfigCommand),
    /// The state of the server: these sections, or with none those that are usual.
    Info(Vec<Bytes>),
    /// A key by chance.
    RandomKey,
    /// All keys that match a pattern.
    Keys(Bytes),
    /// Some keys, and where to go on.
    Scan(Scan),
    /// How many keys there are.
    DbSize,
    /// Removes everything: `FLUSHDB` and `FLUSHALL`.
    Flush,
    /// Begins a transaction.
    Multi,
    /// Executes it.
    Exec,
    /// Drops it.
    Discard,
    /// Lets the next transaction depend on keys.
    Watch(Vec<Bytes>),
    /// Lets it depend on none.
    Unwatch,
    /// Waits for replicas, of which there are none.
    Wait,
    /// Waits until the writes so far are durable.
    WaitAof {
        /// Here, and not only on replicas.
        local: bool,
    },
    /// Makes everything durable.
    Save,
    /// The same, behind the reply.
    BgSave,
    /// When everything was last made durable.
    LastSave,
    /// Gives back the space of what is dead, behind the reply.
    BgRewriteAof,
    /// What is wrong with the memory.
    MemoryDoctor,
    /// About the commands that took long.
    SlowLog(SlowLogCommand),
    /// Ends the server.
    Shutdown(Shutdown),
    /// Lines of help.
    Help(&'static [&'static str]),
}

/// `HELLO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The version that is asked for; none: the one that there is.
    pub version: Option<RespVersion>,
    /// To log in with.
    pub credentials: Option<Credentials>,
    /// The name that the connection gets.
    pub name: Option<Bytes>,
}

/// What a client logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// None: `default`, and the answer may be that there is no password.
    pub user: Option<Bytes>,
    /// It is not shown.
    pub password: Secret,
}

/// Bytes that are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// `CLIENT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand {
    /// The number of the connection.
    Id,
    /// Its name.
    GetName,
    /// Gives it a name; an empty one takes it away.
    SetName(Bytes),
    /// Says by which library it was made.
    SetInfo {
        /// Its name, or else its version.
        is_name: bool,
        /// What it is.
        value: Bytes,
    },
    /// A line about this connection.
    Info,
    /// A line about each of them.
    List(ClientFilter),
    /// Closes the one from this address.
    KillAddress(Bytes),
    /// Closes those that fit all of this, and says how many.
    Kill(Box<KillFilter>),
    /// Which replies are sent.
    Reply(ReplyMode),
    /// Nothing is evicted, so it changes nothing.
    NoEvict(bool),
    /// When keys were used is not noted, so it changes nothing.
    NoTouch(bool),
}

/// Which connections are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFilter {
    /// All.
    All,
    /// Those of a kind.
    Kind(ClientKind),
    /// Those with these numbers.
    Ids(Vec<u64>),
}

/// Kinds of connections. There are only normal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// Of a client.
    Normal,
    /// Of the server that this one follows.
    Master,
    /// Of a server that follows this one.
    Replica,
    /// Of a client that waits for messages.
    PubSub,
}

/// Which connections are closed: those that fit all that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KillFilter {
    /// With this number.
    pub id: Option<u64>,
    /// Of this kind.
    pub kind: Option<ClientKind>,
    /// From this address.
    pub address: Option<Bytes>,
    /// To this address.
    pub local_address: Option<Bytes>,
    /// Also the one that asks.
    pub includes_self: bool,
}

/// Which replies are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// All, beginning with the one to this.
    On,
    /// None, not even the one to this.
    Off,
    /// Neither the one to this nor the next.
    Skip,
}

/// `CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigCommand {
    /// The parameters whose names match one of these patterns, in any case.
    Get(Vec<Bytes>),
    /// Sets parameters: names and values in turn.
    Set(Vec<Bytes>),
    /// Sets the counters of `INFO` to 0.
    ResetStat,
}

/// `SCAN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Where to go on; 0: from the beginning.
    pub cursor: u64,
    /// The pattern that keys must match; none: all do.
    pub pattern: Option<Bytes>,
    /// About how many keys are looked at.
    pub count: u64,
    /// Whether keys with strings are wanted; else there are none.
    pub wants_strings: bool,
}

/// `SLOWLOG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowLogCommand {
    /// The last ones.
    Get {
        /// So many; none: all.
        count: Option<u64>,
    },
    /// How many there are.
    Len,
    /// Forgets them.
    Reset,
}

/// `SHUTDOWN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Ends the server.
    Begin {
        /// Whether everything is made durable before; none: as usual.
        save: Option<bool>,
        /// Also if that fails.
        force: bool,
    },
    /// Goes on after all.
    Abort,
}
