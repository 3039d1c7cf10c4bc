"""Asks over HTTP/2 what no well-behaved client would, with a library that does as it is told (h2).

    tricks.py HOST PORT AUTHORITY COOKIE        prints a line of JSON a trick: its name, and what came of it

What came is the status, or `reset`, `goaway` or `closed`. Each trick has a connection of its own.
"""
import json, socket, sys

import h2.config, h2.connection, h2.events, h2.exceptions

HOST, PORT, AUTHORITY, COOKIE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n"


def pseudo(**other):
    fields = {"method": "GET", "scheme": "http", "authority": AUTHORITY, "path": "/"} | other
    return [(f":{name}", value) for name, value in fields.items() if value is not None]


def get(*fields, **other):
    return pseudo(**other) + [("cookie", COOKIE), *fields], None


def post(body, *fields):
    return pseudo(method="POST") + [("cookie", COOKIE), *fields], body


TRICKS = {
    "good": get(),
    "good, with a body": post(b"hello", ("content-length", "5")),
    "good, te: trailers": get(("te", "trailers")),
    "a line's end in a value": get(("x", "a\r\nx: b")),
    "a request in a value": get(("x", f"a\r\n\r\n{SMUGGLED}")),
    "a line feed in a value": get(("x", "a\nx: b")),
    "a nul in a value": get(("x", "a\0b")),
    "a line's end in a name": get(("x: a\r\ny", "b")),
    "a colon in a name": get(("x:y", "b")),
    "a blank in a name": get(("x y", "b")),
    "an empty name": get(("", "b")),
    "a name in capitals": get(("X-Forwarded-User", "root")),
    "a request in the path": get(path=f"/ HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n{SMUGGLED}"),
    "a blank in the path": get(path="/ /smuggled"),
    "an empty path": get(path=""),
    "a path without its slash": get(path="smuggled"),
    "an absolute path": get(path=f"http://{AUTHORITY}/smuggled"),
    "a request in the method": get(method=f"GET /smuggled HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\nGET"),
    "a method in small letters": get(method="get"),
    "no method": get(method=None),
    "no path": get(path=None),
    "a scheme that is an address": get(scheme="http://other/smuggled?"),
    "an authority with a path": get(authority=f"{AUTHORITY}/smuggled"),
    "an authority with a user": get(authority=f"root@{AUTHORITY}"),
    "another host": get(("host", "other.test")),
    "two hosts": get(("host", AUTHORITY), ("host", AUTHORITY)),
    "a path twice": (pseudo() + [(":path", "/smuggled"), ("cookie", COOKIE)], None),
    "a pseudo-header behind": (pseudo(path=None) + [("cookie", COOKIE), (":path", "/smuggled")], None),
    "an unknown pseudo-header": (pseudo() + [(":user", "root"), ("cookie", COOKIE)], None),
    "transfer-encoding": post(b"0\r\n\r\n" + SMUGGLED.encode(), ("transfer-encoding", "chunked")),
    "connection": get(("connection", "keep-alive")),
    "upgrade": get(("upgrade", "websocket")),
    "te: chunked": get(("te", "chunked")),
    "a length that is too short": post(SMUGGLED.encode(), ("content-length", "0")),
    "a length that is too long": post(b"abc", ("content-length", "5")),
    "two lengths": post(b"abc", ("content-length", "3"), ("content-length", "3")),
    "a length with a sign": post(b"abc", ("content-length", "+3")),
    "CONNECT": (pseudo(method="CONNECT", scheme=None, path=None), None),
    "TRACE": get(method="TRACE"),
}


def outcome(fields, body):
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False)
    connection = h2.connection.H2Connection(config=config)
    with socket.create_connection((HOST, PORT), timeout=20) as wire:
        connection.initiate_connection()
        connection.send_headers(1, fields, end_stream=body is None)
        if body is not None:
            connection.send_data(1, body, end_stream=True)
        wire.sendall(connection.data_to_send())
        while True:
            try:
                data = wire.recv(65536)
            except ConnectionResetError:
                return "closed"
            if not data:
                return "closed"
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return dict((name.decode(), value.decode()) for name, value in event.headers)[":status"]
                if isinstance(event, h2.events.StreamReset):
                    return "reset"
                if isinstance(event, h2.events.ConnectionTerminated):
                    return "goaway"
            wire.sendall(connection.data_to_send())


for name, (fields, body) in TRICKS.items():
    print(json.dumps({"trick": name, "came": outcome(fields, body)}), flush=True)
