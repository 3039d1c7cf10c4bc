"""A gRPC server without generated code: bytes in, bytes out. It listens on the port that it is given."""
import json
import sys
import time
from concurrent import futures

import grpc


def told(context):
    """What the application is told of whoever calls."""
    return json.dumps(dict(context.invocation_metadata())).encode()


def unary(request, context):
    context.set_trailing_metadata((("x-trail", "behind"),))
    return told(context) + b"\n" + request


def refuse(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing of that name")


def tick(_, context):
    for number in range(10_000):
        yield b"tick %d" % number
        time.sleep(0.02)


def burst(_, context):
    for number in range(20_000):
        yield b"%d" % number


def talk(requests, context):
    for request in requests:
        yield b"heard " + request


def gather(requests, context):
    return b"%d" % sum(len(request) for request in requests)


server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rig.Rig", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Tick": grpc.unary_stream_rpc_method_handler(tick),
    "Burst": grpc.unary_stream_rpc_method_handler(burst),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
}),))
assert server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
