//! The commands on connections.

use super::Flag::{Admin, AllowBusy, Fast, Loading, NoAuth, NoScript, Stale};
use super::{Category, Group, Spec};
use crate::protocol::resp::parse::{client, connection, container};

/// Each of them.
pub(super) static SPECS: [Spec; 8] = [
    Spec::new("ping", -1, connection::ping, &[Fast])
        .of(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(Group::Connection, "1.0.0", "O(1)", "Ping the server"),
    Spec::new("echo", 2, connection::echo, &[Loading, Stale, Fast])
        .of(&[Category::Connection])
        .docs(Group::Connection, "1.0.0", "O(1)", "Echo the given string"),
    Spec::new("quit", -1, connection::quit, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .of(&[Category::Connection])
        .docs(Group::Connection, "1.0.0", "O(1)", "Close the connection"),
    Spec::new("reset", 1, connection::reset, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .of(&[Category::Connection])
        .docs(Group::Connection, "6.2.0", "O(1)", "Reset the connection"),
    Spec::new("hello", -1, connection::hello, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .of(&[Category::Connection])
        .docs(Group::Connection, "6.0.0", "O(1)", "Handshake with Redis"),
    Spec::new("auth", -2, connection::auth, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .of(&[Category::Connection])
        .docs(Group::Connection, "1.0.0", "O(N)", "Authenticate to the server"),
    Spec::new("select", 2, connection::select, &[Loading, Stale, Fast])
        .of(&[Category::Connection])
        .docs(
            Group::Connection,
            "1.0.0",
            "O(1)",
            "Change the selected database for the current connection",
        ),
    Spec::new("client", -2, container, &[])
        .docs(
            Group::Connection,
            "2.4.0",
            "Depends on subcommand",
            "A container for client connection commands",
        )
        .subcommands(&CLIENT),
];

/// Of `CLIENT`.
static CLIENT: [Spec; 11] = [
    Spec::new("client|getname", 2, client::getname, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(Group::Connection, "2.6.9", "O(1)", "Get the current connection name"),
    Spec::new("client|help", 2, client::help, &[Loading, Stale]).of(&[Category::Connection]).docs(
        Group::Connection,
        "5.0.0",
        "O(1)",
        "Show helpful text about the different subcommands",
    ),
    Spec::new("client|id", 2, client::id, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(
            Group::Connection,
            "5.0.0",
            "O(1)",
            "Returns the client ID for the current connection",
        ),
    Spec::new("client|info", 2, client::info, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Connection,
            "6.2.0",
            "O(1)",
            "Returns information about the current client connection",
        ),
    Spec::new("client|kill", -3, client::kill, &[Admin, NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(Group::Connection, "2.4.0", "O(N)", "Kill the connection of a client"),
    Spec::new("client|list", -2, client::list, &[Admin, NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["nondeterministic_output"])
        .docs(Group::Connection, "2.4.0", "O(N)", "Get the list of client connections"),
    Spec::new("client|no-evict", 3, client::no_evict, &[Admin, NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(
            Group::Connection,
            "7.0.0",
            "O(1)",
            "Set client eviction mode for the current connection",
        ),
    Spec::new("client|no-touch", 3, client::no_touch, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(
            Group::Connection,
            "7.2.0",
            "O(1)",
            "Set whether this connection notes when keys are used",
        ),
    Spec::new("client|reply", 3, client::reply, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(
            Group::Connection,
            "3.2.0",
            "O(1)",
            "Instruct the server whether to reply to commands",
        ),
    Spec::new("client|setinfo", 4, client::setinfo, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs(Group::Connection, "7.2.0", "O(1)", "Set what is known of the client or connection"),
    Spec::new("client|setname", 3, client::setname, &[NoScript, Loading, Stale])
        .of(&[Category::Connection])
        .docs(Group::Connection, "2.6.9", "O(1)", "Set the current connection name"),
];
