"""What redis-py does by itself, against a server on a port of this machine."""

import sys
import threading

import redis

PORT = int(sys.argv[1])
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client(**options):
    return redis.Redis(host="127.0.0.1", port=PORT, socket_timeout=30, **options)


def in_threads(count, function):
    """Runs it in so many threads; an error in one of them is one here."""
    errors = []

    def run(number):
        try:
            function(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def refused(words, function, *arguments):
    try:
        function(*arguments)
    except redis.ResponseError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


@check
def values_are_bytes_unless_decoded():
    bare, decoding = client(), client(decode_responses=True)
    assert bare.set("text", "\u00e9\u4e2d") is True
    assert bare.get("text") == "\u00e9\u4e2d".encode()
    assert decoding.get("text") == "\u00e9\u4e2d"
    assert bare.set("bytes", bytes(range(256)))
    assert bare.get("bytes") == bytes(range(256))
    assert bare.get("none") is None
    assert decoding.mget("text", "none") == ["\u00e9\u4e2d", None]


@check
def options_of_set_and_expiries():
    r = client(decode_responses=True)
    assert r.set("s", "1", nx=True) is True
    assert r.set("s", "2", nx=True) is None
    assert r.set("s", "2", xx=True, ex=100) is True
    assert 0 < r.ttl("s") <= 100
    assert r.set("s", "3", get=True, keepttl=True) == "2"
    assert 0 < r.pttl("s") <= 100_000
    assert r.persist("s") is True and r.ttl("s") == -1
    assert r.expire("s", 0) is True and r.exists("s") == 0
    assert r.getex("s") is None and r.ttl("s") == -2


@check
def pipelines_are_transactions():
    r = client(decode_responses=True)
    pipe = r.pipeline()
    assert pipe.set("p", 1).incr("p", 4).get("p").execute() == [True, 5, "5"]
    pipe.set("p", "text").incr("p").set("q", 1)
    refused("value is not an integer", pipe.execute)
    assert r.mget("p", "q") == ["text", "1"]
    pipe.incr("p").get("q")
    results = pipe.execute(raise_on_error=False)
    assert isinstance(results[0], redis.ResponseError) and results[1] == "1"
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"many:{number}", number)
        assert pipe.execute() == [True] * 1000


@check
def a_watched_key_that_changes_is_tried_again():
    client().set("counter", 0)

    def add(_):
        r = client(decode_responses=True)
        for _ in range(25):
            with r.pipeline() as pipe:
                while True:
                    try:
                        pipe.watch("counter")
                        value = int(pipe.get("counter"))
                        pipe.multi()
                        pipe.set("counter", value + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        continue

    in_threads(4, add)
    assert client().get("counter") == b"100"
    r = client()
    with r.pipeline() as pipe:
        pipe.watch("counter")
        client().set("counter", 7)
        pipe.multi()
        pipe.set("counter", 8)
        try:
            pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("it had changed")
    assert r.transaction(lambda pipe: pipe.multi() or pipe.incr("counter"), "counter") == [8]


@check
def keys_are_iterated():
    r = client(decode_responses=True)
    r.mset({f"scan:{number}": number for number in range(500)})
    found = set(r.scan_iter("scan:*", count=50))
    assert found == {f"scan:{number}" for number in range(500)}
    assert set(r.scan_iter("scan:1?")) == {f"scan:1{digit}" for digit in range(10)}
    assert set(r.scan_iter(_type="list")) == set()


@check
def connections_are_checked_before_use():
    r = client(health_check_interval=0.000001)
    for number in range(50):
        assert r.set("health", number) and r.get("health") == str(number).encode()
    with r.pipeline() as pipe:
        assert pipe.incr("health").execute() == [50]


@check
def a_pool_serves_threads():
    pool = redis.BlockingConnectionPool(
        host="127.0.0.1", port=PORT, max_connections=4, timeout=30, decode_responses=True
    )

    def work(number):
        r = redis.Redis(connection_pool=pool)
        for count in range(200):
            assert r.set(f"thread:{number}", count)
            assert r.get(f"thread:{number}") == str(count)
            r.incr("threads")

    in_threads(8, work)
    assert redis.Redis(connection_pool=pool).get("threads") == "1600"
    pool.disconnect()


@check
def clients_are_named_and_listed():
    r = client(client_name="worker-1", decode_responses=True)
    assert r.client_getname() == "worker-1"
    assert "worker-1" in [it["name"] for it in r.client_list()]
    assert r.client_id() in [int(it["id"]) for it in r.client_list()]
    refused("DB index is out of range", client(db=3).ping)


@check
def what_it_asks_of_servers_is_told():
    r = client(decode_responses=True)
    info = r.info()
    assert info["redis_mode"] == "standalone" and info["loading"] == 0
    assert info["role"] == "master" and info["connected_clients"] >= 1
    assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert "get" in r.command() and r.command_count() > 50
    assert isinstance(r.slowlog_get(), list) and len(r.time()) == 2
    assert r.dbsize() > 0 and r.ping() is True


@check
def what_there_is_not_is_an_error():
    r = client()
    refused("unknown command 'BLPOP'", r.blpop, "list", 1)
    refused("unknown command 'LPUSH'", r.lpush, "list", 1)
    refused("unknown command 'EVAL'", r.eval, "return 1", 0)
    refused("unknown command 'PUBLISH'", r.publish, "channel", "text")
    assert r.ping() is True


for run in CHECKS:
    try:
        run()
    except BaseException:
        print(f"{run.__name__} failed", file=sys.stderr)
        raise
print(f"{len(CHECKS)} checks")
