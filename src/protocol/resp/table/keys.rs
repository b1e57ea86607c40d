//! The commands on keys.

use super::Flag::{DenyOom, Fast, Loading, NoScript, Readonly, Stale, Write};
use super::{Category, Group, Spec};
use crate::protocol::resp::parse::{container, keys};

/// Each of them.
pub(super) static SPECS: [Spec; 23] = [
    Spec::new("del", -2, keys::del, &[Write])
        .of(&[Category::Keyspace])
        .key(1, -1, 1, "RM delete")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(Group::Generic, "1.0.0", "O(N)", "Delete a key"),
    Spec::new("unlink", -2, keys::unlink, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, -1, 1, "RM delete")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(Group::Generic, "4.0.0", "O(1)", "Delete a key, its space being freed later"),
    Spec::new("exists", -2, keys::exists, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, -1, 1, "RO")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(Group::Generic, "1.0.0", "O(N)", "Determine if a key exists"),
    Spec::new("type", 2, keys::kind, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RO")
        .docs(Group::Generic, "1.0.0", "O(1)", "Determine the type stored at key"),
    Spec::new("touch", -2, keys::touch, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, -1, 1, "RO")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(Group::Generic, "3.2.1", "O(N)", "Return how many of the keys exist"),
    Spec::new("rename", 3, keys::rename, &[Write])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW access delete")
        .key(2, 0, 1, "OW update")
        .docs(Group::Generic, "1.0.0", "O(1)", "Rename a key"),
    Spec::new("renamenx", 3, keys::renamenx, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW access delete")
        .key(2, 0, 1, "OW insert")
        .docs(Group::Generic, "1.0.0", "O(1)", "Rename a key, only if the new key does not exist"),
    Spec::new("copy", -3, keys::copy, &[Write, DenyOom])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RO access")
        .key(2, 0, 1, "OW update")
        .docs(Group::Generic, "6.2.0", "O(N)", "Copy a key"),
    Spec::new("randomkey", 1, keys::randomkey, &[Readonly])
        .of(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .docs(Group::Generic, "1.0.0", "O(1)", "Return a random key from the keyspace"),
    Spec::new("keys", 2, keys::keys, &[Readonly])
        .of(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .docs(Group::Generic, "1.0.0", "O(N)", "Find all keys matching the given pattern"),
    Spec::new("scan", -2, keys::scan, &[Readonly])
        .of(&[Category::Keyspace])
        .tips(&["nondeterministic_output", "request_policy:special"])
        .docs(Group::Generic, "2.8.0", "O(1)", "Incrementally iterate the keys space"),
    Spec::new("expire", -3, keys::expire, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW update")
        .docs(Group::Generic, "1.0.0", "O(1)", "Set a key's time to live in seconds"),
    Spec::new("pexpire", -3, keys::pexpire, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW update")
        .docs(Group::Generic, "2.6.0", "O(1)", "Set a key's time to live in milliseconds"),
    Spec::new("expireat", -3, keys::expireat, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW update")
        .docs(Group::Generic, "1.2.0", "O(1)", "Set the expiration for a key as a UNIX timestamp"),
    Spec::new("pexpireat", -3, keys::pexpireat, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW update")
        .docs(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
        ),
    Spec::new("ttl", 2, keys::ttl, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RO access")
        .tips(&["nondeterministic_output"])
        .docs(Group::Generic, "1.0.0", "O(1)", "Get the time to live for a key in seconds"),
    Spec::new("pttl", 2, keys::pttl, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RO access")
        .tips(&["nondeterministic_output"])
        .docs(Group::Generic, "2.6.0", "O(1)", "Get the time to live for a key in milliseconds"),
    Spec::new("expiretime", 2, keys::expiretime, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RO access")
        .docs(Group::Generic, "7.0.0", "O(1)", "Get the expiration Unix timestamp for a key"),
    Spec::new("pexpiretime", 2, keys::pexpiretime, &[Readonly, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RO access")
        .docs(
            Group::Generic,
            "7.0.0",
            "O(1)",
            "Get the expiration Unix timestamp for a key in milliseconds",
        ),
    Spec::new("persist", 2, keys::persist, &[Write, Fast])
        .of(&[Category::Keyspace])
        .key(1, 0, 1, "RW update")
        .docs(Group::Generic, "2.2.0", "O(1)", "Remove the expiration from a key"),
    Spec::new("wait", 3, keys::wait, &[NoScript])
        .of(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .docs(
            Group::Generic,
            "3.0.0",
            "O(1)",
            "Wait for the replication of the writes of this connection",
        ),
    Spec::new("waitaof", 4, keys::waitaof, &[NoScript])
        .of(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .docs(
            Group::Generic,
            "7.2.0",
            "O(1)",
            "Wait until the writes of this connection are durable",
        ),
    Spec::new("object", -2, container, &[])
        .docs(
            Group::Generic,
            "2.2.3",
            "Depends on subcommand",
            "A container for object introspection commands",
        )
        .subcommands(&OBJECT),
];

/// Of `OBJECT`.
static OBJECT: [Spec; 5] = [
    Spec::new("object|encoding", 3, keys::object_encoding, &[Readonly])
        .of(&[Category::Keyspace])
        .key(2, 0, 1, "RO")
        .tips(&["nondeterministic_output"])
        .docs(Group::Generic, "2.2.3", "O(1)", "Inspect the internal encoding of a Redis object"),
    Spec::new("object|freq", 3, keys::object_freq, &[Readonly])
        .of(&[Category::Keyspace])
        .key(2, 0, 1, "RO")
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "4.0.0",
            "O(1)",
            "Get the logarithmic access frequency counter of a Redis object",
        ),
    Spec::new("object|help", 2, keys::object_help, &[Loading, Stale])
        .of(&[Category::Keyspace])
        .docs(Group::Generic, "6.2.0", "O(1)", "Show helpful text about the different subcommands"),
    Spec::new("object|idletime", 3, keys::object_idletime, &[Readonly])
        .of(&[Category::Keyspace])
        .key(2, 0, 1, "RO")
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Get the time since a Redis object was last accessed",
        ),
    Spec::new("object|refcount", 3, keys::object_refcount, &[Readonly])
        .of(&[Category::Keyspace])
        .key(2, 0, 1, "RO")
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Get the number of references to the value of the key",
        ),
];
