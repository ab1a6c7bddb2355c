"""gRPC's own health client: grpc_peer.py PORT. It prints what it is told."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATIENCE = 30
NAMES = health_pb2.HealthCheckResponse.ServingStatus.Name


def say(*words):
    print(*words, flush=True)


with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ["", "liveness", "orders.v1.Orders", "nobody"]:
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
            say("check", name or "-", NAMES(answer.status))
        except grpc.RpcError as error:
            say("check", name or "-", error.code().name)
    # Newer than most of its users.
    if hasattr(health, "List"):
        statuses = health.List(health_pb2.HealthListRequest(), timeout=PATIENCE).statuses
        for name in sorted(statuses):
            say("list", name or "-", NAMES(statuses[name].status))
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="nobody"), timeout=PATIENCE)
    say("watch nobody", NAMES(next(unknown).status))
    unknown.cancel()
    try:
        for answer in health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE):
            say("watch -", NAMES(answer.status))
        say("watch - ended")
    except grpc.RpcError as error:
        say("watch -", error.code().name)
