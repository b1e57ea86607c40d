//! Completion: commands, their options, and keys of the server.

use clap::CommandFactory;
use kvs::client::{BlockingKvsClient, ScanOptions};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::Line;

/// How many keys are offered.
const KEYS_MAX: u64 = 50;
/// The commands whose first word is a key that may be there.
const WITH_KEY: [&str; 7] = ["set", "get", "rm", "incr", "cas", "expire", "ttl"];

/// What the line that is typed may go on with.
pub struct Completion {
    client: BlockingKvsClient,
    commands: clap::Command,
}

impl Completion {
    /// With the keys of this server.
    pub fn new(client: BlockingKvsClient) -> Completion {
        Completion { client, commands: Line::command() }
    }

    fn candidates(&self, before: &str, word: &str) -> Vec<String> {
        let mut words = before.split_whitespace();
        let Some(name) = words.next() else {
            let names = self.commands.get_subcommands().map(|command| command.get_name());
            return begin_with(names, word);
        };
        if word.starts_with('-') {
            let command = self.commands.find_subcommand(name);
            let options = command.into_iter().flat_map(clap::Command::get_arguments);
            let options: Vec<String> =
                options.filter_map(|option| Some(format!("--{}", option.get_long()?))).collect();
            return begin_with(options.iter().map(String::as_str), word);
        }
        if words.next().is_none() && WITH_KEY.contains(&name) {
            return self.keys(word);
        }
        Vec::new()
    }

    /// Keys that can be typed as they are. Where there is no answer, none is offered.
    fn keys(&self, prefix: &str) -> Vec<String> {
        let options = ScanOptions::new().prefix(prefix).limit(KEYS_MAX).keys_only();
        let keys = self.client.scan(options).map_while(Result::ok);
        let plain = |key: &String| !key.contains([' ', '\t', '\n', '\r', '\'', '"', '\\']);
        keys.filter_map(|(key, _)| String::from_utf8(key).ok()).filter(plain).collect()
    }
}

fn begin_with<'a>(all: impl Iterator<Item = &'a str>, word: &str) -> Vec<String> {
    all.filter(|it| it.starts_with(word)).map(|it| format!("{it} ")).collect()
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or(line);
        let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
        let (before, word) = typed.split_at(start);
        Ok((start, self.candidates(before, word)))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}
