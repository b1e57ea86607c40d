//! What `redis-cli` does besides executing commands.

use super::redis_cli::{cli, has_redis_cli};
use super::server::Server;

/// Sets of so many keys, `key1` and so on, with the value `v`.
fn sets(count: usize) -> Vec<u8> {
    let set = |number: usize| {
        let key = format!("key{number}");
        format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\nv\r\n", key.len())
    };
    (1..=count).map(set).collect::<String>().into_bytes()
}

#[test]
fn many_keys_are_set_at_once_and_found_again() {
    if !has_redis_cli() {
        return;
    }
    let server = Server::start(&[]);
    let piped = cli(&server, &["--pipe"], &sets(20_000)).well();
    let said = "All data transferred. Waiting for the last reply...\n\
                Last reply received from server.\nerrors: 0, replies: 20000\n";
    assert_eq!(piped, said);
    let found = cli(&server, &["--scan", "--pattern", "key1999*"], b"").well();
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let mut expected = vec!["key1999".to_owned()];
    expected.extend((19990..=19999).map(|number| format!("key{number}")));
    assert_eq!(found, expected);
    let all = cli(&server, &["--scan"], b"").well();
    assert_eq!(all.lines().collect::<std::collections::BTreeSet<_>>().len(), 20_000);
    // An error among them is counted, and is no end.
    let mut bad = sets(1);
    bad.extend(b"*2\r\n$4\r\nINCR\r\n$4\r\nkey1\r\n");
    bad.extend(sets(1));
    let piped = cli(&server, &["--pipe"], &bad);
    assert_eq!(piped.code, Some(1), "{piped:?}");
    assert!(piped.out.ends_with("errors: 1, replies: 3\n"), "{piped:?}");
    assert!(piped.err.contains("ERR value is not an integer or out of range"), "{piped:?}");
}

#[test]
fn the_largest_keys_are_found() {
    if !has_redis_cli() {
        return;
    }
    let server = Server::start(&[]);
    cli(&server, &["--pipe"], &sets(1000)).well();
    cli(&server, &["-x", "set", "largest"], &[b'v'; 5000]).well();
    let big = cli(&server, &["--bigkeys"], b"").well();
    assert!(big.contains("Sampled 1001 keys in the keyspace!"), "{big}");
    assert!(big.contains("Biggest string found '\"largest\"' has 5000 bytes"), "{big}");
    assert!(big.contains("1001 strings with 6000 bytes (100.00% of keys"), "{big}");
    let memory = cli(&server, &["--memkeys"], b"").well();
    assert!(memory.contains("Sampled 1001 keys in the keyspace!"), "{memory}");
    assert!(memory.contains("Biggest string found '\"largest\"' has 50"), "{memory}");
}

#[test]
fn latencies_and_counters_are_shown() {
    if !has_redis_cli() {
        return;
    }
    let server = Server::start(&[]);
    cli(&server, &["--pipe"], &sets(10)).well();
    // Least, most, average, samples.
    let latency = cli(&server, &["--latency", "--csv", "-i", "0.1"], b"").well();
    let numbers: Vec<f64> = latency.trim().split(',').map(|it| it.parse().unwrap()).collect();
    assert!(numbers.len() == 4 && numbers[3] >= 1.0, "{latency}");
    // Without an end of its own; what it shows first is enough.
    let mut command = super::programs::program("sh");
    let line = format!("redis-cli -p {} --stat -i 0.01 | head -n 3", server.addr.port());
    let stat = super::programs::run(command.args(["-c", &line]), b"").well();
    let keys = stat.lines().nth(2).and_then(|line| line.split_whitespace().next());
    assert_eq!(keys, Some("10"), "{stat}");
}

/// What would need a replica or a policy of eviction is refused, and the tool says so.
#[test]
fn what_there_is_not_is_refused() {
    if !has_redis_cli() {
        return;
    }
    let server = Server::start(&[]);
    let path = server.path("dump.rdb");
    let dump = cli(&server, &["--rdb", path.to_str().unwrap()], b"");
    assert_eq!(dump.code, Some(1), "{dump:?}");
    assert!(dump.err.contains("ERR unknown command 'SYNC'"), "{dump:?}");
    cli(&server, &["set", "k", "v"], b"").well();
    let hot = cli(&server, &["--hotkeys"], b"");
    assert_eq!(hot.code, Some(1), "{hot:?}");
    assert!(hot.err.contains("ERR An LFU maxmemory policy is not selected"), "{hot:?}");
    assert_eq!(
        cli(&server, &["subscribe", "channel"], b"").well(),
        "ERR unknown command 'subscribe', with args beginning with: 'channel' \n\n"
    );
}
