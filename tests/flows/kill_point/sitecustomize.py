"""Stops a flow's process at a point of the run, where another process can kill it.

Python imports this module at its start when its folder is on PYTHONPATH. It watches the process rename its files: a
step begins or ends in the moment in which the run's record, that says so, takes its name. There the process writes its
pid to the file `KILL_POINT_REACHED` and waits. At `STEP:start` nothing of the step was done, at `STEP:end` all of it,
and in neither case does the record tell. `record:start` is the moment before the record first stands, `record:end` the
one before it says that the run has ended, `write:N` the one before the N-th file of the process takes its name.
"""

import json
import os
import sys
import threading
import time

POINT, REACHED = os.environ.get("KILL_POINT", ""), os.environ.get("KILL_POINT_REACHED", "")
RUN = os.environ.get("PREFECT__FLOW_RUN_ID", "")
FINAL = ("Completed", "Failed", "Canceled")
lock = threading.Lock()
written = 0


def on_event(event, args):
    if event == "os.rename" and POINT in points(os.fspath(args[0]), os.fspath(args[1])):
        wait_to_be_killed()


def points(source, target):
    """The points of the run at which this renaming happens."""
    global written
    if os.environ["OUTHAUL_HOME"] not in os.fsdecode(target):
        return []
    with lock:
        written += 1
        found = [f"write:{written}"]
    if os.fsdecode(target).endswith(f"/runs/{RUN}.json"):
        found += changes(steps(target), steps(source))
    return found


def steps(path):
    """Step → state, and the run's own as the step `record`. None of an absent file."""
    try:
        with open(path) as file:
            record = json.load(file)
    except FileNotFoundError:
        return {}
    states = {step["name"]: step["state"] for step in record["steps"]}
    return {**states, "record": "ended" if record["state"] in FINAL else "running"}


def changes(before, after):
    begun = [f"{name}:start" for name, state in after.items() if state == "running" != before.get(name)]
    return begun + [f"{name}:end" for name, state in after.items() if state != "running" == before.get(name)]


def wait_to_be_killed():
    with open(REACHED + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.link(REACHED + ".part", REACHED)
    while True:
        time.sleep(60)


if POINT and RUN:
    sys.addaudithook(on_event)
