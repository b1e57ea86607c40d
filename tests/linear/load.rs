//! Eight clients on one server, which is killed again and again; after each kill everything is
//! read, and what was called since the last one is checked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use kvs::client::ClientOptions;

use super::checker::{Verdict, check};
use super::client::{Answer, Client, Question, Versions};
use super::frames::Frames;
use super::history::{Action, Call, KEYS, Outcome, State, Step};
use super::proof::{Checked, prove};
use super::random::{Random, mix};
use super::redis::Redis;
use super::reduce::smallest;
use super::server::Server;

const CLIENTS: usize = 8;
/// The first objects are hot: half of all calls are on them.
const OBJECTS: usize = 24;
const HOT: u64 = 3;
/// Of each server.
const KILLS: u64 = 10;
const QUICK_CALLS: u64 = 100_000;
const QUICK_CALLS_ALWAYS: u64 = 15_000;
/// Between two kills, about 100 milliseconds each.
const CALLS: u64 = 3000;
const CALLS_ALWAYS: u64 = 600;
/// Longer than any restart: else what is late would count as an answer.
const PATIENCE_MS: u64 = 60_000;

/// What is the same for all clients.
struct Load {
    addr: SocketAddr,
    keys: Vec<[String; KEYS]>,
    started: Instant,
    /// For the clients that outlive the server.
    is_over: AtomicBool,
}

impl Load {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap()
    }
}

#[test]
fn calls_are_linearizable_when_the_operating_system_acknowledges() {
    linearizable("linear::os", "os", QUICK_CALLS, CALLS);
}

#[test]
fn calls_are_linearizable_when_the_disk_acknowledges() {
    linearizable("linear::always", "always", QUICK_CALLS_ALWAYS, CALLS_ALWAYS);
}

fn linearizable(test: &str, durability: &str, floor: u64, calls_max: u64) {
    let (kills, unknown) = (AtomicU64::new(0), AtomicU64::new(0));
    prove(test, floor, |seed| {
        let mut random = Random::new(seed);
        let args = ["--durability", durability, "--segment-bytes", "16384"];
        let mut server = Server::start(&args);
        let key = |object: usize, key: usize| format!("object {object} key {key}");
        let mut load = Load {
            addr: server.addr,
            keys: (0..OBJECTS).map(|object| [key(object, 0), key(object, 1)]).collect(),
            started: Instant::now(),
            is_over: AtomicBool::new(false),
        };
        let options = ClientOptions::new().timeout_ms(PATIENCE_MS);
        let client = |_| options.connect_blocking(server.addr).unwrap();
        let lasting = [0, 1].map(client);
        let mut states = vec![[None; KEYS]; OBJECTS];
        let mut count = 0;
        for round in 0..KILLS {
            let mut clients: Vec<Client> = Vec::new();
            for index in 0..4 {
                let redis = Redis::connect(load.addr).unwrap();
                clients.push(Client::Redis(redis, Random::of(seed, round * 8 + index)));
            }
            for _ in 0..2 {
                clients
                    .push(Client::Frames(Frames::connect(load.addr).unwrap(), Versions::default()));
            }
            for client in &lasting {
                clients.push(Client::Kvs(client.clone(), Versions::default()));
            }
            assert_eq!(clients.len(), CLIENTS);
            let calls = 1 + random.below(calls_max);
            load.is_over = AtomicBool::new(false);
            let mut histories = run(&load, &mut server, &args, clients, mix(seed) ^ round, calls);
            load.addr = server.addr;
            count += histories.iter().map(|calls| count_of(calls)).sum::<u64>();
            let open = histories.iter().flatten().filter(|call| call.returned.is_none());
            unknown.fetch_add(u64::try_from(open.count()).unwrap(), Ordering::Relaxed);
            kills.fetch_add(1, Ordering::Relaxed);
            read_back(&load, &mut histories);
            for (object, calls) in histories.iter().enumerate() {
                judge(states[object], calls)
                    .map_err(|wrong| format!("round {round}, object {object}: {wrong}"))?;
                states[object] = last_state(calls);
            }
        }
        Ok(count)
    });
    let (kills, unknown) = (kills.into_inner(), unknown.into_inner());
    println!("{kills} kills, {unknown} calls without an answer");
    assert!(unknown > 0, "no kill came between a call and its answer");
}

fn count_of(calls: &[Call]) -> u64 {
    u64::try_from(calls.len()).unwrap()
}

/// Lets the clients call until there are so many answers; kills the server and starts it again.
/// The calls on each object.
fn run(
    load: &Load,
    server: &mut Server,
    args: &[&str],
    clients: Vec<Client>,
    seed: u64,
    calls: u64,
) -> Vec<Vec<Call>> {
    let (tell, heard) = mpsc::channel();
    let told = thread::scope(|scope| {
        let start = |(index, client): (usize, Client)| {
            let tell = tell.clone();
            let random = Random::of(seed, u64::try_from(index).unwrap());
            scope.spawn(move || {
                Caller { load, index, client, random, tell, seen: HashMap::new() }.call_on()
            })
        };
        let threads: Vec<_> = clients.into_iter().enumerate().map(start).collect();
        drop(tell);
        for _ in 0..calls {
            heard.recv().expect("every client has ended, and nobody was killed");
        }
        server.kill();
        load.is_over.store(true, Ordering::SeqCst);
        server.restart(args);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut histories = vec![Vec::new(); OBJECTS];
    told.into_iter().for_each(|(object, call)| histories[object].push(call));
    histories
}

/// Nobody else calls: what each object holds is the last call on it.
fn read_back(load: &Load, histories: &mut [Vec<Call>]) {
    let mut client = Client::Redis(Redis::connect(load.addr).unwrap(), Random::new(0));
    for (keys, calls) in load.keys.iter().zip(histories) {
        let steps = [(0, Action::Get), (1, Action::Get)];
        let called = load.now();
        let Answer::Told(outcomes) = client.ask(&Question { keys, steps: &steps }) else {
            panic!("the server that nobody kills has died")
        };
        let returned = Some(load.now());
        calls.push(Call { client: CLIENTS, steps: told(&steps, outcomes), called, returned });
    }
}

fn told(steps: &[(usize, Action)], outcomes: Vec<Outcome>) -> Vec<Step> {
    assert_eq!(steps.len(), outcomes.len());
    let told = steps.iter().zip(outcomes);
    told.map(|(&(key, action), outcome)| Step { key, action, outcome }).collect()
}

fn last_state(calls: &[Call]) -> State {
    let last = calls.last().unwrap();
    let value = |step: &Step| match step.outcome {
        Outcome::Value(value) => value,
        other => panic!("{other:?}"),
    };
    [value(&last.steps[0]), value(&last.steps[1])]
}

fn judge(initial: State, calls: &[Call]) -> Checked<()> {
    match check(initial, calls) {
        Verdict::Linearizable => Ok(()),
        Verdict::Undecided => Err(format!("{} calls are too many to judge", calls.len())),
        Verdict::Impossible => {
            let smallest = smallest(initial, calls);
            let lines: Vec<String> = smallest.iter().map(Call::to_string).collect();
            let lines = lines.join("\n");
            Err(format!("not linearizable, from {initial:?}:\n{lines}"))
        }
    }
}

/// A client at work.
struct Caller<'a> {
    load: &'a Load,
    index: usize,
    client: Client,
    random: Random,
    tell: Sender<()>,
    /// The last value of each key that it knows.
    seen: HashMap<(usize, usize), Option<i64>>,
}

impl Caller<'_> {
    /// Calls until the server has died.
    fn call_on(mut self) -> Vec<(usize, Call)> {
        let mut calls = Vec::new();
        loop {
            let is_hot = self.random.one_in(2);
            let objects = if is_hot { HOT } else { u64::try_from(OBJECTS).unwrap() };
            let object = usize::try_from(self.random.below(objects)).unwrap();
            let steps = self.choose(object);
            let called = self.load.now();
            let question = Question { keys: &self.load.keys[object], steps: &steps };
            let answer = self.client.ask(&question);
            let returned = self.load.now();
            let (outcomes, returned) = match answer {
                Answer::Told(outcomes) => (Some(outcomes), Some(returned)),
                Answer::Unknown => (Some(vec![Outcome::Untold; steps.len()]), None),
                Answer::NotDone => (None, None),
            };
            if let Some(outcomes) = outcomes {
                let steps = told(&steps, outcomes);
                steps.iter().for_each(|step| self.see(object, step));
                calls.push((object, Call { client: self.index, steps, called, returned }));
            }
            // Once it hears enough, the other side no longer listens.
            let _ = self.tell.send(());
            let is_over = match self.client.outlives_the_server() {
                true => self.load.is_over.load(Ordering::SeqCst),
                false => returned.is_none(),
            };
            if is_over {
                return calls;
            }
        }
    }

    fn see(&mut self, object: usize, step: &Step) {
        let value = match (step.action, step.outcome) {
            (Action::Get, Outcome::Value(value)) | (_, Outcome::Refused(Some(value))) => value,
            (Action::Set(value), _) => Some(value),
            (_, Outcome::Sum(sum)) => Some(sum),
            (Action::Swap(_, new), Outcome::Met) => new,
            _ => return,
        };
        self.seen.insert((object, step.key), value);
    }

    /// A value that no other call writes.
    fn value(&mut self) -> i64 {
        i64::try_from(self.random.next() >> 20).unwrap()
    }

    fn sets_or_removes(&mut self) -> Action {
        if self.random.one_in(4) { Action::Remove } else { Action::Set(self.value()) }
    }

    fn adds(&mut self) -> Action {
        Action::Add(i64::try_from(1 + self.random.below(1 << 20)).unwrap())
    }

    fn choose(&mut self, object: usize) -> Vec<(usize, Action)> {
        let key = usize::try_from(self.random.below(2)).unwrap();
        let known = self.seen.get(&(object, key)).copied().flatten();
        let action = match self.random.below(20) {
            0..6 => Action::Get,
            6..10 => self.sets_or_removes(),
            10..13 => {
                let new = if self.random.one_in(5) { None } else { Some(self.value()) };
                Action::Swap(known, new)
            }
            13..15 => self.adds(),
            15..17 => return vec![(0, Action::Get), (1, Action::Get)],
            _ if self.client.is_own_protocol() => {
                let both = [(0, self.sets_or_removes()), (1, self.sets_or_removes())];
                let required = self.random.one_in(2).then_some((key, Action::Require(known)));
                return required.into_iter().chain(both).collect();
            }
            _ => {
                let reads = (key, Action::Get);
                return vec![reads, (1 - key, self.adds()), (key, self.sets_or_removes())];
            }
        };
        vec![(key, action)]
    }
}
