//! The prompt, on a terminal of its own.

use super::server::Server;
use super::terminal::Terminal;

#[test]
fn commands_are_asked_for_on_a_terminal() {
    if !Terminal::is_there() {
        return;
    }
    let server = Server::start(&[]);
    let line = format!("{} --addr {}", env!("CARGO_BIN_EXE_kvs-client"), server.addr);
    let mut terminal = Terminal::run(&line, |command| {
        command.env("HOME", server.dir.path()).env("TERM", "xterm").env("NO_COLOR", "1");
        command.env_remove("KVS_PASSWORD");
    });
    let prompt = format!("{}> ", server.addr);
    let dialogue = [
        ("set city 'the value'\r", "\n"),
        ("get city\r", "\nthe value\r\n"),
        ("incr city\r", "kvs-client: the value of key \"city\" is not an integer"),
        ("get 'city\r", "kvs-client: "),
        ("nonsense\r", "unrecognized subcommand 'nonsense'"),
        ("help\r", "Leave"),
        // The key is completed.
        ("get ci\t\r", "the value"),
    ];
    terminal.wait_for(&prompt);
    for (typed, answer) in dialogue {
        terminal.press(typed);
        terminal.wait_for(answer);
        terminal.wait_for(&prompt);
    }
    terminal.press("quit\r");
    assert!(terminal.end());
    let history = std::fs::read_to_string(server.path(".kvs-client-history")).unwrap();
    assert!(history.contains("set city 'the value'\n"), "{history}");
}
