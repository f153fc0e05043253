"""`make soak MINUTES=n`: a fleet of devices on a native stack, random faults, and an account at the end.

Runs in a copy of the checkout, on ports of its own. Ends with 1 when something acknowledged was lost,
devices of one user differ, or an answer was neither a success nor "come again".
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from bench.faults import FAULTS, LARGE_FAULTS, Stack
from bench.fleet import Fleet
from tests.servers.processes import children

DEVICES = 50
ALL_FAULTS = FAULTS | LARGE_FAULTS
#: Between two things that a device does: a fleet of thousands that sync every few minutes.
PAUSE_S = 0.5
FAULT_EVERY_S = 20
#: A restore ends all sessions: 401.
FINE = {0, 200, 401, 502, 503, 504}


def memory_mb(stack: Stack) -> dict[str, float]:
    """Return the resident memory of each part with its workers."""
    found: dict[str, float] = {}
    for name, pid in stack.pids().items():
        for process in (pid, *children(pid)):
            status = Path(f"/proc/{process}/status").read_text()
            kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
            part = name.split("-")[0]
            found[part] = found.get(part, 0) + int(kib) / 1024
    return found


def soak(stack: Stack, minutes: float) -> bool:
    """Let the fleet sync for so long; say what came of it, and return whether all was well."""
    #: Every fault once before any comes again.
    names: list[str] = []
    #: Each with when it began, and when it was over.
    faults: list[tuple[str, float, float]] = []
    with Fleet(stack.api, DEVICES, PAUSE_S) as fleet:
        time.sleep(15)
        before = memory_mb(stack)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end - FAULT_EVERY_S:
            names = names or random.sample(list(ALL_FAULTS), len(ALL_FAULTS))
            name = names.pop()
            print(f"{end - time.monotonic():5.0f} s to go: {name}", flush=True)
            began = time.monotonic()
            ALL_FAULTS[name](stack)
            faults.append((name, began, time.monotonic()))
            time.sleep(FAULT_EVERY_S * random.random() * 2)
        time.sleep(max(0, end - time.monotonic()))
        after = memory_mb(stack)
    report(fleet, faults)
    print("Memory in MB, at the beginning and at the end:")
    for part in before:
        print(f"  {part:9} {before[part]:6.0f} {after.get(part, 0):6.0f}")
    try:
        there, given_up = fleet.check(stack.lives)
    except AssertionError as error:
        print(f"LOST: {error}")
        return False
    print(
        f"All devices have all {there} records; writes lost: 0"
        f" (taken back by restores, on purpose: {given_up})"
    )
    return fleet.answers.keys() <= FINE


def report(fleet: Fleet, faults: list[tuple[str, float, float]]) -> None:
    """Print what each fault did to the fleet, up to the next one."""
    print(f"\nAnswers by status (0: none): {dict(sorted(fleet.answers.items()))}")
    print(f"Longest outage of a device: {fleet.longest_outage:.1f} s")
    print(f"{'fault':40} {'lasted':>8} {'failed':>8} {'recovered':>10} {'nobody served':>14}")
    end = max(member.moments[-1][0] for member in fleet.members)
    nexts = [began for _, began, _ in faults[1:]]
    for (name, began, over), until in zip(faults, [*nexts, end], strict=True):
        failed, last, longest = fleet.during(began, until)
        print(
            f"{name:40} {over - began:6.1f} s {failed:8} {max(0, last - over):8.1f} s {longest:12.1f} s"
        )


if __name__ == "__main__":
    try:
        minutes = float(sys.argv[1])
    except ValueError:
        sys.exit(f"MINUTES={sys.argv[1]} is no number of minutes: make soak MINUTES=10")
    with tempfile.TemporaryDirectory() as name:
        # The database gives up root, and must still reach its files.
        Path(name).chmod(0o755)
        stack = Stack(Path(name) / "checkout")
        print("Starting a native stack")
        stack.start()
        try:
            fine = soak(stack, minutes)
        finally:
            stack.run("down-native")
    sys.exit(not fine)
