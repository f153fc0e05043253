"""`make soak MINUTES=n`: a fleet of devices on a native stack, random faults, and an account at the end.

Runs in a copy of the checkout, on ports of its own. Ends with 1 when something acknowledged was lost,
devices of one user differ, or an answer was neither a success nor "come again".
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.faults import FAULTS
from bench.fleet import Fleet
from tests.servers.checkout import Checkout
from tests.servers.processes import children

DEVICES = 50
#: Between two things that a device does: a fleet of thousands that sync every few minutes.
PAUSE_S = 0.5
FAULT_EVERY_S = 20
FINE = {0, 200, 502, 503, 504}


def memory_mb(checkout: Checkout) -> dict[str, float]:
    """Resident memory of each part with its workers."""
    found: dict[str, float] = {}
    for name, pid in checkout.pids().items():
        for process in (pid, *children(pid)):
            status = Path(f"/proc/{process}/status").read_text()
            kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
            part = name.split("-")[0]
            found[part] = found.get(part, 0) + int(kib) / 1024
    return found


def soak(checkout: Checkout, minutes: float) -> bool:
    """Let the fleet sync for so long; say what came of it, and return whether all was well."""
    randomness = random.Random()
    faults: Counter[str] = Counter()
    with Fleet(checkout.api, DEVICES, PAUSE_S) as fleet:
        time.sleep(15)
        before = memory_mb(checkout)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end - FAULT_EVERY_S:
            name = randomness.choice(list(FAULTS))
            print(f"{end - time.monotonic():5.0f} s to go: {name}", flush=True)
            faults[name] += 1
            FAULTS[name](checkout)
            time.sleep(FAULT_EVERY_S * randomness.random() * 2)
        time.sleep(max(0, end - time.monotonic()))
        after = memory_mb(checkout)
    answers = fleet.answers
    print(f"\nAnswers by status (0: none): {dict(sorted(answers.items()))}")
    print(
        f"Faults: {sum(faults.values())}; longest outage of a device: {fleet.longest_outage:.1f} s"
    )
    print("Memory in MB, at the beginning and at the end:")
    for part in before:
        print(f"  {part:9} {before[part]:6.0f} {after[part]:6.0f}")
    try:
        print(f"All devices have all {fleet.check()} records that were acknowledged")
    except AssertionError as error:
        print(f"LOST: {error}")
        return False
    return answers.keys() <= FINE


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        # The database gives up root, and must still reach its files.
        Path(name).chmod(0o755)
        checkout = Checkout(Path(name) / "checkout")
        print("Starting a native stack")
        checkout.run("up-native")
        try:
            fine = soak(checkout, float(sys.argv[1]))
        finally:
            checkout.run("down-native")
    sys.exit(not fine)
