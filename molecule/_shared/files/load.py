#!/usr/bin/env python3
"""Adds cats over HTTP, and later looks whether every one whose adding was acknowledged is there.

load.py run URL ACKNOWLEDGED SECONDS: until the time is over or ACKNOWLEDGED.stop exists.
load.py check URL ACKNOWLEDGED: fails when one is missing.
"""

import http.client
import json
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

CLIENTS = 4
PAUSE = 0.01  # seconds: bounded on purpose


def add(client: int, url: str, log: Path, until: float, failed: list[int]) -> None:
    """Add one cat after the other and note those that were acknowledged."""
    address = urllib.parse.urlsplit(url).netloc
    number = 0
    with log.open("a", buffering=1) as acknowledged:
        while time.monotonic() < until and not log.with_suffix(".stop").exists():
            name = f"load-{client}-{number}"
            number += 1
            try:
                connection = http.client.HTTPConnection(address, timeout=10)
                body = json.dumps({"name": name, "price": number, "breed": "load"})
                connection.request("POST", "/add", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                if answer.status == 200 and json.loads(answer.read()) == "Added":
                    acknowledged.write(name + "\n")
                else:
                    failed[client] += 1
                connection.close()
            except (OSError, http.client.HTTPException):
                failed[client] += 1
            time.sleep(PAUSE)


def run(url: str, log: Path, seconds: float) -> int:
    """Add cats with several clients at once."""
    log.unlink(missing_ok=True)
    log.with_suffix(".stop").unlink(missing_ok=True)
    until = time.monotonic() + seconds
    failed = [0] * CLIENTS
    clients = [
        threading.Thread(target=add, args=(client, url, log, until, failed))
        for client in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    print(f"{len(log.read_text().split())} acknowledged, {sum(failed)} failed")
    return 0


def check(url: str, log: Path) -> int:
    """Look for each acknowledged cat."""
    with urllib.request.urlopen(f"{url}/", timeout=30) as answer:  # noqa: S310 (our own site)
        there = {cat["name"] for cat in json.load(answer)}
    acknowledged = log.read_text().split()
    missing = [name for name in acknowledged if name not in there]
    print(f"{len(acknowledged)} acknowledged, {len(missing)} missing {missing[:5]}")
    return 1 if missing or len(acknowledged) < 20 else 0


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])))
    sys.exit(check(sys.argv[2], Path(sys.argv[3])))
