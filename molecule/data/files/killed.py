"""Run a verb of the data program that is killed in a stage: killed.py STAGE DELAY CONFIG VERB...

DELAY is how many seconds after the stage began; 0 is at once. Exits with 3 when the stage never
came. With SLIPWAY_KILL=child the process that watches over it lives on; with SLIPWAY_KILL=fail
nothing is killed, but the stage ends in an error.
"""

import os
import signal
import sys
import threading

from slipway_data import __main__, host

STAGE, DELAY = sys.argv[1], float(sys.argv[2])
HOW = os.environ.get("SLIPWAY_KILL", "all")
note = host.Journal.stage


def kill() -> None:
    """End the operation as no handler could see it, and first whoever watches over it."""
    if HOW == "all":
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def stage(journal: host.Journal, name: str, **details: str) -> None:
    """Note the stage as ever, then end in it."""
    note(journal, name, **details)
    if name == STAGE and HOW == "fail":
        raise host.ProblemError("made to fail")
    if name == STAGE:
        threading.Timer(DELAY, kill).start() if DELAY else kill()


host.Journal.stage = stage  # type: ignore[method-assign, assignment]
sys.argv = ["slipway_data", *sys.argv[3:]]
sys.exit(__main__.main() or 3)
