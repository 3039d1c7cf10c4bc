"""A gRPC client: client.py ADDRESS AUTHORITY COOKIE CALL. What came is printed, a line each, as it comes."""
import sys

import grpc

address, authority, cookie, call = sys.argv[1:5]
channel = grpc.insecure_channel(address, options=[
    ("grpc.default_authority", authority), ("grpc.max_receive_message_length", -1),
])
metadata = [("x-forwarded-user", "mallory")] + ([("cookie", cookie)] if cookie else [])


def say(*words):
    print(*words, flush=True)


def run():
    if call == "unary":
        answer, done = channel.unary_unary("/rig.Rig/Unary").with_call(b"hello", metadata=metadata, timeout=20)
        say(answer.decode())
        say("trailers", dict(done.trailing_metadata()))
    elif call == "large":
        answer = channel.unary_unary("/rig.Rig/Unary")(b"x" * 3_000_000, metadata=metadata, timeout=20)
        say("large", len(answer.partition(b"\n")[2]))
    elif call == "refuse":
        channel.unary_unary("/rig.Rig/Refuse")(b"", metadata=metadata, timeout=20)
    elif call == "tick":
        for answer in channel.unary_stream("/rig.Rig/Tick")(b"", metadata=metadata, timeout=60):
            say(answer.decode())
    elif call == "burst":
        import time
        answers = channel.unary_stream("/rig.Rig/Burst")(b"", metadata=metadata, timeout=60)
        first = next(answers)
        time.sleep(1)  # and takes nothing
        rest = list(answers)
        say("burst", first.decode(), len(rest), rest[-1].decode())
    elif call == "talk":
        import queue
        waiting = queue.Queue()
        answers = channel.stream_stream("/rig.Rig/Talk")(iter(waiting.get, None), metadata=metadata, timeout=20)
        for number in range(3):
            waiting.put(b"%d" % number)
            say(next(answers).decode())  # each before the next is said
        waiting.put(None)
        assert next(answers, None) is None
    elif call == "gather":
        pieces = (b"y" * 100_000 for _ in range(20))
        say("gathered", channel.stream_unary("/rig.Rig/Gather")(pieces, metadata=metadata, timeout=20).decode())


try:
    run()
    say("OK")
except grpc.RpcError as error:
    say(error.code().name, error.details())
