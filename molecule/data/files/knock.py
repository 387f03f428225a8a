"""Open fresh database connections, and say when they were let in.

knock.py run DIR NAME,HOST,PORT,PASSWORD_FILE,SECONDS...: in a container of the application, until
DIR/stop is there; each attempt is a line in DIR/NAME: the time, and `in`, `refused` or the error.
knock.py judge DIR TIME: TIME is when the old release ended, in seconds since the epoch.
"""

import sys
import threading
import time
from pathlib import Path


def knock(directory: Path, name: str, host: str, port: str, password: str, pause: float) -> None:
    """Open one connection after the other."""
    import psycopg

    given = Path(password).read_text()
    with (directory / name).open("w", buffering=1) as log:
        while not (directory / "stop").exists():
            began = time.time()
            try:
                psycopg.connect(
                    host=host, port=port, user="example", dbname="example", password=given,
                    connect_timeout=5,
                ).close()  # fmt: skip
                said = "in"
            except psycopg.OperationalError as error:
                text = " ".join(str(error).split())
                said = "refused" if "password authentication failed" in text else text
            log.write(f"{began} {said}\n")
            time.sleep(max(0, pause - (time.time() - began)))


def read(path: Path) -> list[tuple[float, str]]:
    """Return the attempts."""
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    return [(float(at), said) for at, said in lines]


def judge(directory: Path, ended: float) -> list[str]:
    """Return what is wrong with what was let in."""
    old, wrong = read(directory / "old"), read(directory / "wrong")
    opened = [at for at, said in wrong if said == "in"]
    said = [word for _, word in old]
    first = next((at for at, word in old if word != "in"), 0.0)
    problems = []
    if not opened or wrong[0][1] != "refused" or wrong[-1][1] != "refused":
        return [f"a wrong password was let in {len(opened)} times of {len(wrong)}, not in between"]
    if said != ["in"] * said.count("in") + ["refused"] * said.count("refused"):
        problems.append(f"the old password: {sorted(set(said))}, in and out")
    if not first or first < ended:
        problems.append(f"the old password was refused from {first}, the release ended at {ended}")
    for name in ("port", "host", "published"):
        attempts = read(directory / name)
        meanwhile = [word for at, word in attempts if opened[0] < at < opened[-1]]
        if len(meanwhile) < 5 or {word for _, word in attempts} != {"refused"}:
            problems.append(
                f"{name}: {len(meanwhile)} meanwhile, {sorted({w for _, w in attempts})}"
            )
    print(
        f"the old password was taken {said.count('in')} times and refused {said.count('refused')} "
        f"times, first {first - ended:.1f} s after the old release had ended; the network was open "
        f"for {opened[-1] - opened[0]:.1f} s, others were refused {len(meanwhile)} times meanwhile"
    )
    return problems


if __name__ == "__main__":
    where = Path(sys.argv[2])
    if sys.argv[1] == "judge":
        wrong = judge(where, float(sys.argv[3]))
        sys.exit("; ".join(wrong) or 0)
    for argument in sys.argv[3:]:
        *target, pause = argument.split(",")
        threading.Thread(target=knock, args=(where, *target, float(pause))).start()
