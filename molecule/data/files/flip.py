"""Flip bits in the middle of a page in the middle of a data file: flip.py FILE."""

import sys
from pathlib import Path

PAGE = 8192

with Path(sys.argv[1]).open("r+b") as file:
    pages = Path(sys.argv[1]).stat().st_size // PAGE
    file.seek(pages // 2 * PAGE + PAGE // 2)
    was = file.read(4)
    file.seek(-len(was), 1)
    file.write(bytes(byte ^ 0xFF for byte in was))
