//! `kvs-client` and the client against the real server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use kvs::client::{ClientOptions, ErrorCode, ScanOptions, Swap};
use kvs::{Batch, Expected, KvsClient, SetOptions};
use tokio::task::JoinSet;

use super::running::{Client, Ran};
use super::server::Server;

#[test]
fn the_talent_plan() {
    let server = Server::start(&[]);
    server.run(&["get", "key"]).printed("Key not found\n");
    server.run(&["rm", "key"]).complained("Key not found\n");
    server.run(&["set", "key", "value"]).printed("");
    server.run(&["get", "key"]).printed("value\n");
    server.run(&["set", "key", "other"]).printed("");
    server.run(&["get", "key"]).printed("other\n");
    server.run(&["rm", "key"]).printed("");
    server.run(&["get", "key"]).printed("Key not found\n");
    server.run(&["set", "--", "-key", "-value"]).printed("");
    server.run(&["get", "--", "-key"]).printed("-value\n");
}

#[test]
fn numbers_expiries_and_swaps() {
    let server = Server::start(&[]);
    server.run(&["incr", "n"]).printed("1\n");
    server.run(&["incr", "n", "-3"]).printed("-2\n");
    server.run(&["set", "n", "one", "--sync"]).printed("");
    server.run(&["incr", "n"]).complained("kvs-client: the value of key \"n\" is not an integer\n");
    server.run(&["ttl", "none"]).printed("Key not found\n");
    server.run(&["ttl", "n"]).printed("never\n");
    server.run(&["expire", "none", "5000"]).complained("Key not found\n");
    server.run(&["expire", "n", "500000"]).printed("");
    let left: u64 = server.run(&["ttl", "n"]).succeeded().trim().parse().unwrap();
    assert!((400_000..=500_000).contains(&left));
    server.run(&["expire", "n", "--never"]).printed("");
    server.run(&["ttl", "n"]).printed("never\n");
    server.run(&["set", "n", "x", "--expire-after-ms", "1"]).printed("");
    let version = server.run(&["cas", "c", "1", "--absent"]).succeeded().trim().to_owned();
    let refused = server.run(&["cas", "c", "2", "--absent"]);
    refused.complained(&format!("Not as expected: version {version}, value 1\n"));
    server.run(&["cas", "c", "2", "--value", "1"]).succeeded();
    let old = server.run(&["cas", "c", "3", "--version", &version]);
    assert_eq!(old.code, Some(1));
    server.run(&["cas", "c", "--remove", "--present"]).succeeded();
    server.run(&["cas", "c", "2", "--present"]).complained("Not as expected: it has no value\n");
}

#[test]
fn a_batch_is_all_or_nothing() {
    let server = Server::start(&[]);
    let batch = "# comment\nrequire a --absent\nset a '1 2'\n\nset b 2\nrm c\n";
    fs::write(server.path("batch"), batch).unwrap();
    server.run(&["batch", "batch"]).succeeded();
    server.run(&["get", "a"]).printed("1 2\n");
    server.run(&["batch", "batch"]).complained("Not as required: \"a\"\n");
    let bad = server.run_with_input(&["batch", "-"], b"set x 1\nput y 2\n");
    bad.complained("kvs-client: standard input:2: unrecognized subcommand 'put'\n");
    server.run(&["get", "x"]).printed("Key not found\n");
}

#[test]
fn what_is_imported_is_scanned_and_exported() {
    let server = Server::start(&[]);
    let lines: String =
        (0..5000).map(|number| format!("key {number:04}\tvalue {number}\n")).collect();
    fs::write(server.path("in.tsv"), &lines).unwrap();
    server.run(&["import", "in.tsv"]).printed("5000 records read and written\n");
    server.run(&["export", "--format", "tsv"]).printed(&lines);
    server.run(&["export", "out.jsonl.gz"]).printed("5000 records written\n");
    server.run(&["import", "out.jsonl.gz"]).printed("5000 records read and written\n");
    let scan = server.run(&["scan", "--prefix", "key 00", "--limit", "2", "--reverse"]);
    scan.printed("key 0099\tvalue 99\nkey 0098\tvalue 98\n");
    let scan = server.run(&["scan", "--from", "key 0001", "--to", "key 0003", "--keys"]);
    scan.printed("key 0001\nkey 0002\n");
    server
        .run(&["scan", "--limit", "1", "--json"])
        .printed("{\"key\":\"key 0000\",\"value\":\"value 0\"}\n");
    let bad = server.run_with_input(&["import", "--format", "tsv", "-"], b"a\t1\nno tab\n");
    bad.complained("kvs-client: standard input:2: the line has no tab\n");
    assert!(server.run(&["stats"]).succeeded().contains("keys               5,000"));
    assert!(server.run(&["stats", "--json"]).succeeded().contains("\"keys\": 5000"));
}

#[test]
fn changes_are_watched() {
    let server = Server::start(&[]);
    let mut command = server.command(&["watch", "--prefix", "w/", "--limit", "2", "--after", "0"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    server.run(&["set", "w/1", "a"]).printed("");
    server.run(&["set", "x/1", "b"]).printed("");
    server.run(&["rm", "w/1"]).printed("");
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    let behind_the_seq: Vec<&str> =
        lines.iter().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(behind_the_seq, ["set\t-\tw/1\ta", "remove\t-\tw/1"]);
    assert!(watch.wait().unwrap().success());
}

/// All changes of a batch have one seq, and not all of them may have come.
#[test]
fn a_watch_goes_on_in_the_middle_of_a_batch() {
    let server = Server::start(&[]);
    fs::write(server.path("batch"), "set b/1 1\nset b/2 2\nset b/3 3\n").unwrap();
    server.run(&["batch", "batch"]).succeeded();
    let first = server.run(&["watch", "--after", "0", "--limit", "2"]);
    let lines: Vec<(&str, &str)> =
        first.succeeded().lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(
        lines.iter().map(|line| line.1).collect::<Vec<_>>(),
        ["set\t-\tb/1\t1", "set\t-\tb/2\t2"]
    );
    let seq: u64 = lines[1].0.parse().unwrap();
    assert_eq!(lines[0].0, lines[1].0);
    let after = (seq - 1).to_string();
    let rest = server.run(&["watch", "--after", &after, "--skip", "2", "--limit", "1"]);
    rest.printed(&format!("{seq}\tset\t-\tb/3\t3\n"));
}

#[test]
fn it_is_measured() {
    let server = Server::start(&[]);
    let bench = server.run(&[
        "bench",
        "--clients",
        "4",
        "--pipeline",
        "4",
        "--requests",
        "2000",
        "--keys",
        "100",
    ]);
    let report = bench.succeeded();
    assert!(report.contains("2000 requests in"), "{report}");
    assert!(report.contains("get: ") && report.contains("set: ") && report.contains('#'));
    server.run(&["scan", "--prefix", "bench/"]).printed("");
}

#[test]
fn the_password_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "hush\n").unwrap();
    let file = file.to_str().unwrap();
    let server = Server::start(&["--password-file", file]);
    server.run(&["get", "key"]).complained("kvs-client: the server wants a password\n");
    server.run(&["get", "key", "--password-file", file]).printed("Key not found\n");
    let mut command = server.command(&["set", "key", "value"]);
    Ran::from(command.env("KVS_PASSWORD", "hush").output().unwrap()).printed("");
    let mut command = server.command(&["set", "key", "value"]);
    let wrong = Ran::from(command.env("KVS_PASSWORD", "wrong").output().unwrap());
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    assert!(wrong.stderr.starts_with("kvs-client: "), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_count_and_none_is_lost() {
    let server = Server::start(&[]);
    let client = KvsClient::connect(server.addr).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                client.increment("count", 1).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(client.get("count").await.unwrap().as_deref(), Some(&b"1000"[..]));
}

#[tokio::test]
async fn every_call_of_the_client() {
    let server = Server::start(&[]);
    let client = KvsClient::connect(server.addr).await.unwrap();
    assert_eq!(client.server().engine, "kvs");
    let first = client.set("a", "1").await.unwrap();
    let second = client.set("a", "2").await.unwrap();
    assert!(!first.existed && second.existed && first.seq < second.seq);
    let found = client.get_many(["a", "none", "a"]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(found[0].as_ref().unwrap().seq, second.seq);
    assert!(client.contains_key("a").await.unwrap());
    let absent = SetOptions::new().if_absent();
    assert_eq!(client.set_with("a", "3", absent).await.unwrap(), None);
    let kept = client.now_in(100_000).await;
    assert!(client.expire_at("a", kept).await.unwrap());
    client.set_with("a", "3", SetOptions::new().keep_expiry()).await.unwrap().unwrap();
    assert_eq!(client.expires_at("a").await.unwrap(), Some(Some(kept)));
    assert!(client.persist("a").await.unwrap());
    assert_eq!(client.append("a", "!").await.unwrap(), 2);
    let swap = client.compare_and_swap("a", Expected::value("no"), Some("x")).await.unwrap();
    assert!(matches!(swap, Swap::Refused(Some(found)) if &*found.value == b"3!"));
    let swap = client.compare_and_swap("a", Expected::value("3!"), None::<&str>).await.unwrap();
    assert!(matches!(swap, Swap::Done(written) if written.existed));
    let mut batch = Batch::new();
    batch.require("a", Expected::Absent).set("a", "4").set("b", "5");
    client.write(&batch).await.unwrap();
    let failed = client.write(&batch).await.unwrap_err();
    assert_eq!(failed.code(), ErrorCode::PreconditionFailed);
    assert!(client.remove("b").await.unwrap().existed);
    assert_eq!(client.increment("a", 38).await.unwrap(), 42);
    let mut scan = client.scan(ScanOptions::new());
    assert_eq!(scan.next().await.unwrap().unwrap().0, b"a");
    assert!(scan.next().await.unwrap().is_none());
    client.sync().await.unwrap();
    assert_eq!(client.stats().await.unwrap().keys, 1);
    let too_large = client.set(vec![0; kvs::KEY_BYTES_MAX + 1], "").await.unwrap_err();
    assert_eq!(too_large.code(), ErrorCode::KeyTooLarge);
    let range = client.scan(ScanOptions::new().from("b").to("a")).next().await.unwrap_err();
    assert_eq!(range.code(), ErrorCode::InvalidRange);
}

/// A time in the future of the server.
trait NowIn {
    async fn now_in(&self, ms: u64) -> u64;
}

impl NowIn for KvsClient {
    async fn now_in(&self, ms: u64) -> u64 {
        self.ping().await.unwrap() + ms
    }
}

#[tokio::test]
async fn a_client_outlives_its_server() {
    let mut server = Server::start(&[]);
    let options = ClientOptions::new().reconnect_delay_ms(5, 50);
    let client = options.connect(server.addr).await.unwrap();
    let after = client.set("w/0", "0").await.unwrap().seq;
    let mut watch = client.watch(Some(after), "w/").await.unwrap();
    for round in 1..5 {
        client.set(format!("w/{round}"), "value").await.unwrap();
        assert_eq!(watch.next().await.unwrap().key, format!("w/{round}").as_bytes());
        server.restart(&[]);
        // A read is asked again by itself.
        assert!(client.get(format!("w/{round}")).await.unwrap().is_some());
    }
    server.kill();
}

#[test]
fn a_scan_of_more_than_fits_in_memory_of_a_page() {
    let server = Server::start(&[]);
    let client = ClientOptions::new().connect_blocking(server.addr).unwrap();
    let value = vec![b'x'; 10_000];
    for hundred in 0..30 {
        let mut batch = Batch::new();
        for number in 0..100 {
            batch.set(format!("{:05}", hundred * 100 + number), &value);
        }
        client.write(&batch).unwrap();
    }
    let mut count = 0;
    for record in client.scan(ScanOptions::new()) {
        let (key, found) = record.unwrap();
        assert_eq!(key, format!("{count:05}").as_bytes());
        assert_eq!(found.value.len(), 10_000);
        count += 1;
    }
    assert_eq!(count, 3000);
    // One that is left early leaves the connection as it was.
    assert_eq!(client.scan(ScanOptions::new()).take(1).count(), 1);
    client.ping().unwrap();
}
