//! The commands on the server.

use super::Flag::{
    Admin, AllowBusy, Fast, Loading, NoAsyncLoading, NoMulti, NoScript, Readonly, Stale, Write,
};
use super::{Category, Group, Spec};
use crate::protocol::resp::parse::{container, introspect, server};

/// Each of them.
pub(super) static SPECS: [Spec; 14] = [
    Spec::new("time", 1, server::time, &[Loading, Stale, Fast])
        .tips(&["nondeterministic_output"])
        .docs(Group::Server, "2.6.0", "O(1)", "Return the current server time"),
    Spec::new("command", -1, introspect::all, &[Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .docs(Group::Server, "2.8.13", "O(N)", "Get array of Redis command details")
        .subcommands(&COMMAND),
    Spec::new("config", -2, container, &[])
        .docs(
            Group::Server,
            "2.0.0",
            "Depends on subcommand",
            "A container for server configuration commands",
        )
        .subcommands(&CONFIG),
    Spec::new("info", -1, server::info, &[Loading, Stale])
        .of(&[Category::Dangerous])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs(Group::Server, "1.0.0", "O(1)", "Get information and statistics about the server"),
    Spec::new("dbsize", 1, server::dbsize, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .docs(Group::Server, "1.0.0", "O(1)", "Return the number of keys in the selected database"),
    Spec::new("flushdb", -1, server::flushdb, &[Write])
        .of(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(Group::Server, "1.0.0", "O(N)", "Remove all keys from the current database"),
    Spec::new("flushall", -1, server::flushall, &[Write])
        .of(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(Group::Server, "1.0.0", "O(N)", "Remove all keys from all databases"),
    Spec::new("save", 1, server::save, &[Admin, NoScript, NoAsyncLoading, NoMulti]).docs(
        Group::Server,
        "1.0.0",
        "O(N)",
        "Synchronously save the dataset to disk",
    ),
    Spec::new("bgsave", -1, server::bgsave, &[Admin, NoScript, NoAsyncLoading]).docs(
        Group::Server,
        "1.0.0",
        "O(1)",
        "Asynchronously save the dataset to disk",
    ),
    Spec::new("lastsave", 1, server::lastsave, &[Loading, Stale, Fast])
        .of(&[Category::Admin, Category::Dangerous])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Server,
            "1.0.0",
            "O(1)",
            "Get the UNIX time stamp of the last successful save to disk",
        ),
    Spec::new("bgrewriteaof", 1, server::bgrewriteaof, &[Admin, NoScript, NoAsyncLoading]).docs(
        Group::Server,
        "1.0.0",
        "O(1)",
        "Asynchronously rewrite the append-only file",
    ),
    Spec::new("memory", -2, container, &[])
        .docs(
            Group::Server,
            "4.0.0",
            "Depends on subcommand",
            "A container for memory diagnostics commands",
        )
        .subcommands(&MEMORY),
    Spec::new("slowlog", -2, container, &[])
        .docs(Group::Server, "2.2.12", "Depends on subcommand", "A container for slow log commands")
        .subcommands(&SLOWLOG),
    Spec::new(
        "shutdown",
        -1,
        server::shutdown,
        &[Admin, NoScript, Loading, Stale, NoMulti, AllowBusy],
    )
    .docs(
        Group::Server,
        "1.0.0",
        "O(N)",
        "Synchronously save the dataset to disk and then shut down the server",
    ),
];

/// Of `COMMAND`.
static COMMAND: [Spec; 6] = [
    Spec::new("command|count", 2, introspect::count, &[Loading, Stale])
        .of(&[Category::Connection])
        .docs(Group::Server, "2.8.13", "O(1)", "Get total number of Redis commands"),
    Spec::new("command|docs", -2, introspect::docs, &[Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .docs(Group::Server, "7.0.0", "O(N)", "Get array of specific Redis command documentation"),
    Spec::new("command|getkeys", -4, introspect::getkeys, &[Loading, Stale])
        .of(&[Category::Connection])
        .docs(Group::Server, "2.8.13", "O(N)", "Extract keys given a full Redis command"),
    Spec::new("command|help", 2, introspect::help, &[Loading, Stale])
        .of(&[Category::Connection])
        .docs(Group::Server, "5.0.0", "O(1)", "Show helpful text about the different subcommands"),
    Spec::new("command|info", -2, introspect::info, &[Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .docs(
            Group::Server,
            "2.8.13",
            "O(N)",
            "Get array of specific Redis command details, or all when no argument is given",
        ),
    Spec::new("command|list", -2, introspect::list, &[Loading, Stale])
        .of(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .docs(Group::Server, "7.0.0", "O(N)", "Get an array of Redis command names"),
];

/// Of `CONFIG`.
static CONFIG: [Spec; 4] = [
    Spec::new("config|get", -3, server::config_get, &[Admin, NoScript, Loading, Stale]).docs(
        Group::Server,
        "2.0.0",
        "O(N)",
        "Get the values of configuration parameters",
    ),
    Spec::new("config|help", 2, server::config_help, &[Loading, Stale]).docs(
        Group::Server,
        "5.0.0",
        "O(1)",
        "Show helpful text about the different subcommands",
    ),
    Spec::new("config|resetstat", 2, server::config_resetstat, &[Admin, NoScript, Loading, Stale])
        .docs(Group::Server, "2.0.0", "O(1)", "Reset the stats returned by INFO"),
    Spec::new("config|set", -4, server::config_set, &[Admin, NoScript, Loading, Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs(Group::Server, "2.0.0", "O(N)", "Set configuration parameters to the given values"),
];

/// Of `MEMORY`.
static MEMORY: [Spec; 3] = [
    Spec::new("memory|doctor", 2, server::memory_doctor, &[])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs(Group::Server, "4.0.0", "O(1)", "Outputs memory problems report"),
    Spec::new("memory|help", 2, server::memory_help, &[Loading, Stale]).docs(
        Group::Server,
        "4.0.0",
        "O(1)",
        "Show helpful text about the different subcommands",
    ),
    Spec::new("memory|usage", -3, server::memory_usage, &[Readonly]).key(2, 0, 1, "RO").docs(
        Group::Server,
        "4.0.0",
        "O(N)",
        "Estimate the memory usage of a key",
    ),
];

/// Of `SLOWLOG`.
static SLOWLOG: [Spec; 4] = [
    Spec::new("slowlog|get", -2, server::slowlog_get, &[Admin, Loading, Stale])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .docs(Group::Server, "2.2.12", "O(N)", "Get the slow log's entries"),
    Spec::new("slowlog|help", 2, server::slowlog_help, &[Loading, Stale]).docs(
        Group::Server,
        "6.2.0",
        "O(1)",
        "Show helpful text about the different subcommands",
    ),
    Spec::new("slowlog|len", 2, server::slowlog_len, &[Admin, Loading, Stale])
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .docs(Group::Server, "2.2.12", "O(1)", "Get the slow log's length"),
    Spec::new("slowlog|reset", 2, server::slowlog_reset, &[Admin, Loading, Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs(Group::Server, "2.2.12", "O(N)", "Clear all entries from the slow log"),
];
