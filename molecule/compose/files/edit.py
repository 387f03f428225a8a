"""Edit a file and say how long it took until a site answered with it: edit.py FILE OLD NEW URL."""

import sys
import time
import urllib.request
from pathlib import Path

path, old, new, url = Path(sys.argv[1]), *sys.argv[2:]
text = path.read_text()
if old not in text:
    sys.exit(f"{path} has no {old}")
path.write_text(text.replace(old, new))
began = time.monotonic()
while time.monotonic() - began < 20:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (the test's own site)
            if new in answer.read().decode():
                print(f"{time.monotonic() - began:.2f}")
                sys.exit()
    except OSError:
        # The server starts anew.
        pass
    # Each question takes a share of the processor from the server that starts.
    time.sleep(0.1)
sys.exit(f"{url} has no {new} after 20 s")
