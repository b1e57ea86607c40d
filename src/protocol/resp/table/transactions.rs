//! The commands on transactions.

use super::Flag::{AllowBusy, Fast, Loading, NoScript, SkipSlowlog, Stale};
use super::{Category, Group, Spec};
use crate::protocol::resp::parse::transactions;

/// Each of them.
pub(super) static SPECS: [Spec; 5] = [
    Spec::new("multi", 1, transactions::multi, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .of(&[Category::Transaction])
        .docs(Group::Transactions, "1.2.0", "O(1)", "Mark the start of a transaction block"),
    Spec::new("exec", 1, transactions::exec, &[NoScript, Loading, Stale, SkipSlowlog])
        .of(&[Category::Transaction])
        .docs(
            Group::Transactions,
            "1.2.0",
            "Depends on commands in the transaction",
            "Execute all commands issued after MULTI",
        ),
    Spec::new("discard", 1, transactions::discard, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .of(&[Category::Transaction])
        .docs(Group::Transactions, "2.0.0", "O(N)", "Discard all commands issued after MULTI"),
    Spec::new("watch", -2, transactions::watch, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .of(&[Category::Transaction])
        .key(1, -1, 1, "RO")
        .docs(
            Group::Transactions,
            "2.2.0",
            "O(1)",
            "Watch the given keys to determine execution of the MULTI/EXEC block",
        ),
    Spec::new("unwatch", 1, transactions::unwatch, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .of(&[Category::Transaction])
        .docs(Group::Transactions, "2.2.0", "O(1)", "Forget about all watched keys"),
];
