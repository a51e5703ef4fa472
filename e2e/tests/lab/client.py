"""A client of the failure experiments that knows the research protocol alone: standard library, the routes, the fields.

Usage: client.py http://127.0.0.1:8000   exits with 0 if everything is as the protocol has it.
"""

import json
import sys
import urllib.error
import urllib.request

base = sys.argv[1]
prefix = base + "/api/fault-tolerance"


def call(method, url, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def get(url):
    status, _, body = call("GET", url)
    assert status == 200, (url, status, body)
    return json.loads(body)


def post(url, body=None):
    status, _, answer = call("POST", url, body)
    assert status == 200, (url, body, status, answer)
    return json.loads(answer)


# Every route by its fields.
assert get(base + "/")["version"] == "1.0.0"
assert len(get(base + "/api")["available_endpoints"]) == 5
for path in ("/api/health", "/health"):
    assert get(base + path) == {"status": "healthy", "components": {"database": "connected"}}
assert b"http_requests_total" in call("GET", base + "/metrics")[2]
strategies = [one["name"] for one in get(prefix + "/strategies")["strategies"]]
assert strategies == ["baseline", "checkpointing", "replication", "hybrid"], strategies
assert len(get(prefix + "/experiment-presets")["presets"]) == 8
status = get(prefix + "/status")
assert status["strategy"] == "baseline" and status["is_healthy"] is True, status
assert {"writes", "reads", "failures_simulated", "recoveries", "last_operation", "strategy", "is_failed"} <= set(status["stats"])

# What is wrong is refused as FastAPI does it.
assert call("GET", base + "/nothing")[0::2] == (404, b'{"detail":"Not Found"}')
assert call("GET", prefix + "/recover")[0::2] == (405, b'{"detail":"Method Not Allowed"}')
for path, body in (("/configure", {}), ("/configure", {"strategy": "prayer"}), ("/store", {"key": "a"}),
                   ("/simulate-failure", {"failure_type": "fire"}), ("/run-experiment", {"strategy": "hybrid", "data_items": -1})):
    code, _, body = call("POST", prefix + path, body)
    assert code == 422, (path, code, body)
    assert all({"type", "loc", "msg", "input"} <= set(one) for one in json.loads(body)["detail"]), body

# A page of the dashboard may ask, another may not.
origin = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
code, headers, _ = call("OPTIONS", prefix + "/configure", headers=origin)
assert code == 200 and headers["access-control-allow-origin"] == "http://localhost:5173", (code, headers)
assert headers["access-control-allow-headers"] == "content-type"
assert call("OPTIONS", prefix + "/configure", headers={**origin, "Origin": "http://example.com"})[0] == 400

# Nothing leaks from one store into the next, and each comes back as its strategy promises.
for strategy, kept in (("baseline", False), ("replication", True)):
    answer = post(prefix + "/configure", {"strategy": strategy, "replication_factor": 3})
    assert answer["success"] is True and answer["message"] == f"Switched to {strategy} strategy", answer
    assert get(prefix + "/retrieve/a%20key")["found"] is False
    assert post(prefix + "/store", {"key": "a key", "value": {"n": 1}}) == {"success": True, "key": "a key", "strategy": strategy}
    assert get(prefix + "/retrieve/a%20key")["value"] == {"n": 1}
    failed = post(prefix + "/simulate-failure")
    assert failed["success"] is True and failed["is_healthy"] is kept, failed
    recovered = post(prefix + "/recover")
    assert recovered["is_healthy"] is True and isinstance(recovered["recovery_time_seconds"], float), recovered
    assert get(prefix + "/retrieve/a%20key")["found"] is kept

# Each kind of failure once.
for kind in ("default", "leader", "follower", "partial", "majority", "total", "pause", "partition", "disk", "node_count", "pod_kill", "latency"):
    found = post(prefix + "/run-experiment", {"strategy": "replication", "data_items": 10, "failure_type": kind, "node_count": 2})
    print(kind, found["recovery_time_seconds"], found["note"], flush=True)
    assert found["data_recovery_rate_percent"] == 100.0, found

# Under load.
found = post(prefix + "/run-experiment", {"strategy": "replication", "data_items": 10, "writers": 4})
assert found["lost_acknowledged_writes"] == 0 and found["gap_seconds"] > 0, found

# Without a checkpoint there is nothing to come back from.
found = post(prefix + "/run-experiment", {"strategy": "checkpointing", "data_items": 10, "trigger_checkpoint": False})
assert found["checkpoint_triggered"] is False and found["items_at_risk"] >= found["data_items"] - found["items_recovered"], found

# The protocol's loop.
expected = {"baseline": 0.0, "checkpointing": 100.0, "replication": 100.0, "hybrid": 100.0}
for strategy, interval, factor in (("baseline", 30, 3), ("checkpointing", 15, 3), ("replication", 30, 2), ("replication", 30, 5), ("hybrid", 30, 3)):
    found = post(prefix + "/run-experiment", {
        "strategy": strategy, "data_items": 100, "checkpoint_interval": interval, "replication_factor": factor})
    print(found["strategy_full_name"], found["recovery_time_seconds"], found["data_recovery_rate_percent"], found["items_recovered"], flush=True)
    assert isinstance(found["recovery_time_seconds"], float) and isinstance(found["store_time_seconds"], float)
    assert found["data_recovery_rate_percent"] == expected[strategy], found
    assert found["items_recovered"] == int(expected[strategy]), found
    assert found["data_items"] == 100 and found["stats"]["is_failed"] is False, found
