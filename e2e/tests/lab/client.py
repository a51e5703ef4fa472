"""A client of the failure experiments that knows the research protocol alone: standard library, the routes, the fields.

Usage: client.py http://127.0.0.1:8000 [RUNS]   exits with 0 if everything is as the protocol has it. RUNS of each configuration; 2 unless said.
"""

import csv
import json
import sys
import tempfile
import urllib.error
import urllib.request

base = sys.argv[1]
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
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

# The protocol's batch: its eight presets, its four fields, a CSV of its own, and its statistics if they are installed.
presets = [("Baseline", "baseline", None, None), ("Checkpoint_15s", "checkpointing", 15, None), ("Checkpoint_30s", "checkpointing", 30, None),
           ("Checkpoint_60s", "checkpointing", 60, None), ("Replication_F2", "replication", None, 2), ("Replication_F3", "replication", None, 3),
           ("Replication_F5", "replication", None, 5), ("Hybrid_30s_F3", "hybrid", 30, 3)]
assert len(presets) == len(get(prefix + "/experiment-presets")["presets"])
expected = {"baseline": 0.0, "checkpointing": 100.0, "replication": 100.0, "hybrid": 100.0}
with tempfile.NamedTemporaryFile("w+", suffix=".csv", newline="") as table:
    writer = csv.writer(table)
    writer.writerow(["config_name", "strategy", "run_id", "recovery_time_seconds", "data_recovery_rate", "items_recovered", "store_time_seconds"])
    for name, strategy, interval, factor in presets:
        for run in range(1, runs + 1):
            found = post(prefix + "/run-experiment", {
                "strategy": strategy, "data_items": 100, "checkpoint_interval": interval or 30, "replication_factor": factor or 3})
            assert isinstance(found["recovery_time_seconds"], float) and isinstance(found["store_time_seconds"], float)
            assert found["data_recovery_rate_percent"] == expected[strategy], found
            assert found["items_recovered"] == int(expected[strategy]), found
            assert found["data_items"] == 100 and found["stats"]["is_failed"] is False, found
            writer.writerow([name, strategy, run, found["recovery_time_seconds"], found["data_recovery_rate_percent"],
                             found["items_recovered"], found["store_time_seconds"]])
        print(found["strategy_full_name"], found["recovery_time_seconds"], found["data_recovery_rate_percent"], found["items_recovered"], flush=True)
    table.flush()
    try:
        import pandas
        from scipy import stats
    except ImportError:
        print("pandas and SciPy are not installed: their part is left to whoever has them")
    else:
        times = pandas.read_csv(table.name).groupby("config_name")["recovery_time_seconds"]
        print(times.agg(["mean", "std", "min", "max", "count"]).to_string())
        print(stats.f_oneway(*(group for _, group in times)))
