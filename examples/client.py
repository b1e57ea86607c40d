#!/usr/bin/env python3
"""A client of kvs-server in Python, from docs/PROTOCOL.md and proto/kvs.proto alone.

    protoc --proto_path=proto --python_out=examples proto/kvs.proto
    python3 examples/client.py 127.0.0.1:4000
"""

import socket
import sys

import kvs_pb2 as kvs


class KvsError(Exception):
    def __init__(self, error):
        super().__init__(kvs.Code.Name(error.code), error.text)


class Client:
    def __init__(self, host, port, password=None):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.reader = self.socket.makefile("rb")
        self.next_id = 1
        hello = kvs.HelloRequest(version_min=1, version_max=1, software="client.py")
        self.server = self.call(hello=hello)
        if password is not None:
            self.call(auth=kvs.AuthRequest(password=password))

    def send(self, request_id, **kind):
        message = kvs.Request(id=request_id, **kind).SerializeToString()
        self.socket.sendall(len(message).to_bytes(4, "big") + message)

    def receive(self):
        length = int.from_bytes(self.reader.read(4), "big")
        response = kvs.Response.FromString(self.reader.read(length))
        if length == 0:
            raise EOFError("the server closed the connection")
        if response.WhichOneof("kind") == "error":
            raise KvsError(response.error)
        return response

    def ask(self, **kind):
        request_id, self.next_id = self.next_id, self.next_id + 1
        self.send(request_id, **kind)
        return request_id

    def call(self, **kind):
        self.ask(**kind)
        response = self.receive()
        return getattr(response, response.WhichOneof("kind"))

    def get(self, key):
        answer = self.call(get=kvs.GetRequest(key=key))
        return answer.found.value if answer.HasField("found") else None

    def set(self, key, value):
        return self.call(set=kvs.SetRequest(key=key, value=value)).seq

    def scan(self, prefix):
        """One page at a time: each is granted when the one before is used up."""
        stream = self.ask(scan=kvs.ScanRequest(prefix=prefix, pages=1))
        while (response := self.receive()).WhichOneof("kind") == "scan_page":
            for record in response.scan_page.records:
                yield record.key, record.found.value
            self.send(stream, grant=kvs.GrantRequest(pages=1))


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    client = Client(host, int(port))
    version = client.set(b"python/city", "Utrecht".encode())
    assert client.get(b"python/city") == b"Utrecht"
    ids = [client.ask(get=kvs.GetRequest(key=b"python/city")) for _ in range(10)]
    assert [client.receive().id for _ in ids] == ids  # pipelined, answered in order
    for key, value in client.scan(b"python/"):
        print(key.decode(), value.decode(), version > 0)


main()
