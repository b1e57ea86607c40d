//! The commands on values.

use super::Flag::{DenyOom, Fast, Readonly, Write};
use super::{Category, Group, Spec};
use crate::protocol::resp::parse::strings;

/// Each of them.
pub(super) static SPECS: [Spec; 21] = [
    Spec::new("get", 2, strings::get, &[Readonly, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RO access")
        .docs(Group::String, "1.0.0", "O(1)", "Get the value of a key"),
    Spec::new("set", -3, strings::set, &[Write, DenyOom])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update variable_flags")
        .docs(Group::String, "1.0.0", "O(1)", "Set the string value of a key"),
    Spec::new("getset", 3, strings::getset, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Set the string value of a key and return its old value",
        )
        .deprecated("6.2.0", "`SET` with the `!GET` argument"),
    Spec::new("getdel", 2, strings::getdel, &[Write, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access delete")
        .docs(Group::String, "6.2.0", "O(1)", "Get the value of a key and delete the key"),
    Spec::new("getex", -2, strings::getex, &[Write, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(
            Group::String,
            "6.2.0",
            "O(1)",
            "Get the value of a key and optionally set its expiration",
        ),
    Spec::new("setnx", 3, strings::setnx, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "OW insert")
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Set the value of a key, only if the key does not exist",
        ),
    Spec::new("setex", 4, strings::setex, &[Write, DenyOom])
        .of(&[Category::String])
        .key(1, 0, 1, "OW update")
        .docs(Group::String, "2.0.0", "O(1)", "Set the value and expiration of a key"),
    Spec::new("psetex", 4, strings::psetex, &[Write, DenyOom])
        .of(&[Category::String])
        .key(1, 0, 1, "OW update")
        .docs(
            Group::String,
            "2.6.0",
            "O(1)",
            "Set the value and expiration in milliseconds of a key",
        ),
    Spec::new("mget", -2, strings::mget, &[Readonly, Fast])
        .of(&[Category::String])
        .key(1, -1, 1, "RO access")
        .tips(&["request_policy:multi_shard"])
        .docs(Group::String, "1.0.0", "O(N)", "Get the values of all the given keys"),
    Spec::new("mset", -3, strings::mset, &[Write, DenyOom])
        .of(&[Category::String])
        .key(1, -1, 2, "OW update")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .docs(Group::String, "1.0.1", "O(N)", "Set multiple keys to multiple values"),
    Spec::new("msetnx", -3, strings::msetnx, &[Write, DenyOom])
        .of(&[Category::String])
        .key(1, -1, 2, "OW insert")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .docs(
            Group::String,
            "1.0.1",
            "O(N)",
            "Set multiple keys to multiple values, only if none of the keys exist",
        ),
    Spec::new("append", 3, strings::append, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW insert")
        .docs(Group::String, "2.0.0", "O(1)", "Append a value to a key"),
    Spec::new("strlen", 2, strings::strlen, &[Readonly, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RO")
        .docs(Group::String, "2.2.0", "O(1)", "Get the length of the value stored in a key"),
    Spec::new("setrange", 4, strings::setrange, &[Write, DenyOom])
        .of(&[Category::String])
        .key(1, 0, 1, "RW update")
        .docs(
            Group::String,
            "2.2.0",
            "O(1), not counting the time taken to copy the new string in place",
            "Overwrite part of a string at key starting at the specified offset",
        ),
    Spec::new("getrange", 4, strings::getrange, &[Readonly])
        .of(&[Category::String])
        .key(1, 0, 1, "RO access")
        .docs(Group::String, "2.4.0", "O(N)", "Get a substring of the string stored at a key"),
    Spec::new("substr", 4, strings::substr, &[Readonly])
        .of(&[Category::String])
        .key(1, 0, 1, "RO access")
        .docs(Group::String, "1.0.0", "O(N)", "Get a substring of the string stored at a key")
        .deprecated("2.0.0", "`GETRANGE`"),
    Spec::new("incr", 2, strings::incr, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(Group::String, "1.0.0", "O(1)", "Increment the integer value of a key by one"),
    Spec::new("decr", 2, strings::decr, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(Group::String, "1.0.0", "O(1)", "Decrement the integer value of a key by one"),
    Spec::new("incrby", 3, strings::incrby, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Increment the integer value of a key by the given amount",
        ),
    Spec::new("decrby", 3, strings::decrby, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Decrement the integer value of a key by the given number",
        ),
    Spec::new("incrbyfloat", 3, strings::incrbyfloat, &[Write, DenyOom, Fast])
        .of(&[Category::String])
        .key(1, 0, 1, "RW access update")
        .docs(
            Group::String,
            "2.6.0",
            "O(1)",
            "Increment the float value of a key by the given amount",
        ),
];
