//! Every command that there is: its name, its arguments, what `COMMAND` says of it, and how it is
//! parsed. All else asks this table.

use std::sync::LazyLock;

use bytes::Bytes;

use super::arguments::Arguments;
use super::command::Command;
use super::error::ReplyError;

mod connection;
mod keys;
mod server;
mod strings;
mod transactions;

/// A command, or a subcommand of one.
#[derive(Debug)]
pub struct Spec {
    name: &'static str,
    arity: i8,
    flags: u32,
    categories: u32,
    keys: [Option<KeySpec>; 2],
    tips: &'static [&'static str],
    docs: Docs,
    subcommands: &'static [Spec],
    parse: Parse,
}

/// Makes a command of its arguments.
type Parse = fn(Arguments) -> Result<Command, ReplyError>;

/// Where keys are among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The place of the first one; the name of the command has place 0.
    pub first: i8,
    /// How far the last one is behind it; negative: from the end, -1 being the last argument.
    pub last: i8,
    /// From one to the next.
    pub step: i8,
    /// What is done with them, in the words of Redis.
    pub flags: &'static str,
}

/// What people are told of a command.
#[derive(Debug, Clone, Copy)]
pub struct Docs {
    /// The group that it is in.
    pub group: Group,
    /// Since which version Redis has it.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Since which version it should not be used, and what instead.
    pub deprecated: Option<(&'static str, &'static str)>,
}

/// Groups of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// On values.
    String,
    /// On keys.
    Generic,
    /// On connections.
    Connection,
    /// On the server.
    Server,
    /// On transactions.
    Transactions,
}

impl Group {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
        }
    }
}

/// Defines an enum whose values have names and are bits.
macro_rules! bits {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$value_doc])* $value,)*
        }

        impl $type {
            /// All of them, in the order in which Redis says them.
            pub const ALL: &'static [$type] = &[$($type::$value,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$value => $name,)*
                }
            }

            const fn bit(self) -> u32 {
                1 << self as u32
            }

            const fn bits(mut all: &[$type]) -> u32 {
                let mut bits = 0;
                while let [first, rest @ ..] = all {
                    bits |= first.bit();
                    all = rest;
                }
                bits
            }
        }
    };
}

bits! {
    /// What a command is like.
    Flag {
        /// It may write.
        Write = "write",
        /// It reads and does not write.
        Readonly = "readonly",
        /// It may take more space.
        DenyOom = "denyoom",
        /// It is for those who run the server.
        Admin = "admin",
        /// Scripts may not call it.
        NoScript = "noscript",
        /// It works while the server loads its data.
        Loading = "loading",
        /// It works on a replica that has lost its master.
        Stale = "stale",
        /// It does not come into the log of slow commands.
        SkipSlowlog = "skip_slowlog",
        /// It takes little time.
        Fast = "fast",
        /// It works without a login.
        NoAuth = "no_auth",
        /// It does not work while the server loads its data behind the scenes.
        NoAsyncLoading = "no_async_loading",
        /// It does not work in a transaction.
        NoMulti = "no_multi",
        /// It works while a script runs for too long.
        AllowBusy = "allow_busy",
    }
}

bits! {
    /// What rights are given by.
    Category {
        /// On keys.
        Keyspace = "keyspace",
        /// It reads.
        Read = "read",
        /// It writes.
        Write = "write",
        /// On strings.
        String = "string",
        /// For those who run the server.
        Admin = "admin",
        /// It takes little time.
        Fast = "fast",
        /// It may take time.
        Slow = "slow",
        /// It can do harm.
        Dangerous = "dangerous",
        /// On connections.
        Connection = "connection",
        /// On transactions.
        Transaction = "transaction",
    }
}

impl Spec {
    const fn new(name: &'static str, arity: i8, parse: Parse, flags: &'static [Flag]) -> Spec {
        let flags = Flag::bits(flags);
        let mut categories =
            if flags & Flag::Fast.bit() == 0 { Category::Slow } else { Category::Fast }.bit();
        if flags & Flag::Write.bit() != 0 {
            categories |= Category::Write.bit();
        }
        if flags & Flag::Readonly.bit() != 0 {
            categories |= Category::Read.bit();
        }
        if flags & Flag::Admin.bit() != 0 {
            categories |= Category::Admin.bit() | Category::Dangerous.bit();
        }
        let docs = Docs {
            group: Group::Generic,
            since: "",
            complexity: "",
            summary: "",
            deprecated: None,
        };
        let (keys, tips, subcommands) = ([None; 2], &[], &[]);
        Spec { name, arity, flags, categories, keys, tips, docs, subcommands, parse }
    }

    const fn of(mut self, categories: &'static [Category]) -> Spec {
        self.categories |= Category::bits(categories);
        self
    }

    const fn key(mut self, first: i8, last: i8, step: i8, flags: &'static str) -> Spec {
        let key = Some(KeySpec { first, last, step, flags });
        self.keys = match self.keys {
            [None, second] => [key, second],
            [first, _] => [first, key],
        };
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    const fn docs(
        mut self,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Spec {
        self.docs = Docs { group, since, complexity, summary, deprecated: None };
        self
    }

    const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Spec {
        self.docs.deprecated = Some((since, instead));
        self
    }

    const fn subcommands(mut self, subcommands: &'static [Spec]) -> Spec {
        self.subcommands = subcommands;
        self
    }

    /// Its name in lower case; of a subcommand both names with a bar between them.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is one of several behind a common name.
    #[must_use]
    pub fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// How many arguments it takes, its name or names included; negative: at least so many.
    #[must_use]
    pub fn arity(&self) -> i8 {
        self.arity
    }

    /// Whether it is so.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }

    /// Whether it is in the category.
    #[must_use]
    pub fn is_in(&self, category: Category) -> bool {
        self.categories & category.bit() != 0
    }

    /// Where its keys are.
    pub fn key_specs(&self) -> impl Iterator<Item = KeySpec> {
        self.keys.into_iter().flatten()
    }

    /// Hints for proxies.
    #[must_use]
    pub fn tips_for_proxies(&self) -> &'static [&'static str] {
        self.tips
    }

    /// What people are told of it.
    #[must_use]
    pub fn documentation(&self) -> &Docs {
        &self.docs
    }

    /// The commands behind its name.
    #[must_use]
    pub fn commands_behind(&self) -> &'static [Spec] {
        self.subcommands
    }

    /// Whether it takes so many arguments, its name or names included.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= wanted } else { arguments == wanted }
    }

    /// Makes a command of a request that was resolved to this.
    ///
    /// # Errors
    /// What Redis says of its options and numbers when it executes it: in a transaction that is
    /// at `EXEC`, and without a login never.
    pub fn parse(&'static self, request: Vec<Bytes>) -> Result<Command, ReplyError> {
        (self.parse)(Arguments::new(self, request))
    }
}

/// The commands, without those behind them.
///
/// ```
/// use kvs::protocol::resp::table;
/// assert!(table::commands().any(|command| command.name() == "get"));
/// ```
pub fn commands() -> impl Iterator<Item = &'static Spec> {
    let groups: [&'static [Spec]; 5] =
        [&strings::SPECS, &keys::SPECS, &transactions::SPECS, &connection::SPECS, &server::SPECS];
    groups.into_iter().flatten()
}

/// The command of that name, in any case.
///
/// ```
/// use kvs::protocol::resp::table;
/// assert_eq!(table::command(b"GetRange").map(|command| command.arity()), Some(4));
/// ```
#[must_use]
pub fn command(name: &[u8]) -> Option<&'static Spec> {
    number(name).and_then(|place| *PLACES.get(place)?)
}

/// A number of the command of that name, in any case, below [`numbers`]: for tables beside this
/// one.
#[must_use]
pub fn number(name: &[u8]) -> Option<usize> {
    let mut place = place(name);
    loop {
        let spec = (*PLACES.get(place)?)?;
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(place);
        }
        place = (place + 1) % PLACES_LEN;
    }
}

/// The names of the commands by their numbers; empty where a number is no command's.
#[must_use]
pub fn numbers() -> Vec<&'static str> {
    PLACES.iter().map(|spec| spec.map_or("", |spec| spec.name)).collect()
}

/// The command of a name, or of both names with a bar between them.
#[must_use]
pub fn command_or_subcommand(name: &[u8]) -> Option<&'static Spec> {
    match name.iter().position(|byte| *byte == b'|') {
        None => command(name),
        Some(bar) => {
            let container = command(name.get(..bar)?)?;
            subcommand(container, name.get(bar + 1..)?)
        }
    }
}

/// The command behind that name.
#[must_use]
pub fn subcommand(container: &Spec, name: &[u8]) -> Option<&'static Spec> {
    let own = |spec: &&Spec| {
        let behind = spec.name.as_bytes().get(container.name.len() + 1..).unwrap_or_default();
        behind.eq_ignore_ascii_case(name)
    };
    container.subcommands.iter().find(own)
}

/// The command that a request is for. That it takes as many arguments was checked.
///
/// # Errors
/// That the command, or what is behind it, is not known, or takes fewer or more arguments.
///
/// ```
/// use bytes::Bytes;
/// use kvs::protocol::resp::table;
/// let request = ["CLIENT", "getname"].map(|word| Bytes::from(word));
/// assert_eq!(table::resolve(&request).map(|spec| spec.name()), Ok("client|getname"));
/// let error = table::resolve(&[Bytes::from("GET")]).expect_err("a key lacks");
/// assert_eq!(error.text(), b"ERR wrong number of arguments for 'get' command");
/// ```
pub fn resolve(request: &[Bytes]) -> Result<&'static Spec, ReplyError> {
    let name = request.first().map_or(&[][..], |name| &name[..]);
    let Some(mut spec) = command(name) else {
        return Err(ReplyError::unknown_command(request));
    };
    if let (false, Some(name)) = (spec.subcommands.is_empty(), request.get(1)) {
        let container = spec.name;
        spec = subcommand(spec, name)
            .ok_or_else(|| ReplyError::unknown_subcommand(container, name))?;
    }
    match spec.takes(request.len()) {
        true => Ok(spec),
        false => Err(ReplyError::wrong_arguments(spec.name)),
    }
}

/// Twice as many places as commands at least, so that a search is short.
const PLACES_LEN: usize = 256;

/// The commands by a hash of their names, the next free place after it.
static PLACES: LazyLock<[Option<&'static Spec>; PLACES_LEN]> = LazyLock::new(|| {
    let mut places = [None; PLACES_LEN];
    for spec in commands() {
        let mut place = place(spec.name.as_bytes());
        while let Some(taken) = places.get_mut(place) {
            if taken.is_none() {
                *taken = Some(spec);
                break;
            }
            place = (place + 1) % PLACES_LEN;
        }
    }
    places
});

/// Where a name would be; names are short, and differ in their first bytes or their length.
#[inline]
fn place(name: &[u8]) -> usize {
    let mixed = name.iter().take(16).fold(name.len(), |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(usize::from(byte | 0x20))
    });
    mixed % PLACES_LEN
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{PLACES, PLACES_LEN, Spec, command, commands, place, resolve};

    fn all() -> impl Iterator<Item = &'static Spec> {
        commands().flat_map(|command| std::iter::once(command).chain(command.subcommands))
    }

    #[test]
    fn every_command_is_found_in_any_case() {
        for spec in commands() {
            let names = [spec.name.to_owned(), spec.name.to_ascii_uppercase()];
            for name in names {
                assert!(command(name.as_bytes()).is_some_and(|found| std::ptr::eq(found, spec)));
            }
        }
        for name in ["", "ge", "gett", "cluster", "client|id", "GET\0"] {
            assert!(command(name.as_bytes()).is_none(), "{name}");
        }
        assert!(commands().count() * 2 < PLACES_LEN);
    }

    #[test]
    fn searches_are_short() {
        let steps = |spec: &&Spec| {
            let from = place(spec.name.as_bytes());
            let is_own =
                |at: &usize| PLACES[at % PLACES_LEN].is_some_and(|s| std::ptr::eq(s, *spec));
            (from..).position(|at| is_own(&at)).unwrap()
        };
        let found: Vec<usize> = commands().map(|spec| steps(&spec)).collect();
        assert!(found.iter().all(|steps| *steps < 8), "{found:?}");
        for often in ["get", "set", "incr", "mget", "del", "expire"] {
            assert_eq!(steps(&command(often.as_bytes()).unwrap()), 0, "{often}");
        }
    }

    #[test]
    fn names_are_lower_case_and_documented() {
        for spec in all() {
            assert_eq!(spec.name, spec.name.to_ascii_lowercase());
            assert!(!spec.docs.since.is_empty() && !spec.docs.summary.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn what_is_not_known_or_has_other_arguments_is_refused() {
        let cases = [
            ("NOPE a b", "ERR unknown command 'NOPE', with args beginning with: 'a' 'b' "),
            ("CLUSTER INFO", "ERR unknown command 'CLUSTER', with args beginning with: 'INFO' "),
            ("client NOPE", "ERR unknown subcommand 'NOPE'. Try CLIENT HELP."),
            ("CLIENT", "ERR wrong number of arguments for 'client' command"),
            ("CLIENT KILL", "ERR wrong number of arguments for 'client|kill' command"),
            ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ];
        for (line, expected) in cases {
            let request: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
            let error = resolve(&request).map(Spec::name).unwrap_err();
            assert_eq!(String::from_utf8_lossy(error.text()), expected);
        }
    }
}
