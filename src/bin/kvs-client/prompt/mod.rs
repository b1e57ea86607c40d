//! The prompt: a command a line, with a history and completion.

mod complete;

use std::path::PathBuf;

use clap::Parser;
use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::BlockingKvsClient;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::{Command, complain, connect, words};
use complete::Completion;

/// How many lines are remembered.
const HISTORY_LINES: usize = 1000;

const GREETING: &str = "\
help shows the commands, COMMAND --help one of them; quit or ctrl-d leaves. Words are split as a
shell does it: 'as it is', \"with \\n, \\t, \\xHH\".
";

/// A line that was typed.
#[derive(Debug, Parser)]
#[command(multicall = true, disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Typed,
}

#[derive(Debug, clap::Subcommand)]
enum Typed {
    #[command(flatten)]
    Command(Command),
    /// Leave
    #[command(alias = "exit")]
    Quit,
}

/// Asks for commands until there are no more.
pub fn run(server: &connect::Args) -> Result<(), Failure> {
    let client = server.connect()?;
    let info = client.server();
    let greeting = format!(
        "{} {} with the engine {} at {}\n{GREETING}",
        info.software, info.version, info.engine, server.addr
    );
    output::print(greeting.as_bytes())?;
    let config = Config::builder().max_history_size(HISTORY_LINES).map_err(terminal)?;
    let config = config.history_ignore_space(true).build();
    let mut editor = Editor::<Completion, FileHistory>::with_config(config).map_err(terminal)?;
    editor.set_helper(Some(Completion::new(client.clone())));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    let prompt = format!("{}> ", server.addr);
    loop {
        match editor.readline(&prompt) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                if !execute(&client, server, &line) {
                    break;
                }
            }
            // A line that was begun is dropped.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        }
    }
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        complain(&Failure::Terminal { reason: format!("no history was kept: {error}") });
    }
    Ok(())
}

/// Runs one line, and says what goes wrong. False: it was the last.
fn execute(client: &BlockingKvsClient, server: &connect::Args, line: &str) -> bool {
    let words = match words::split(line.as_bytes()) {
        Ok(words) if words.is_empty() => return true,
        Ok(words) => words,
        Err(reason) => {
            complain(&Failure::Terminal { reason: reason.to_owned() });
            return true;
        }
    };
    match Line::try_parse_from(words) {
        Ok(Line { command: Typed::Quit }) => return false,
        Ok(Line { command: Typed::Command(command) }) => {
            // What the exit code would say was said on standard error too.
            if let Err(failure) = crate::run(client, server, command) {
                complain(&failure);
            }
        }
        // Help, too; where it cannot be printed, there is nobody to tell.
        Err(error) => drop(error.print()),
    }
    true
}

fn terminal(error: ReadlineError) -> Failure {
    Failure::Terminal { reason: error.to_string() }
}

/// Where lines are remembered; none: nowhere.
fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".kvs-client-history"))
}
