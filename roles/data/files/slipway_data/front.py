"""The front: the page of maintenance, turned on and off from the host."""

from __future__ import annotations

import re
import time

from slipway_data import volume
from slipway_data.host import Host, ProblemError, call, replace, until

# nginx has its own process ask it; the same as the nginx role does.
_ASK = (
    "exec 3<>/dev/tcp/127.0.0.1/%s && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && "
    "grep -a '^configuration ' <&3"
)


class Front:
    """The project's nginx; nothing happens where there is none."""

    def __init__(self, host: Host) -> None:
        """Remember the host."""
        self.container = f"{host.config.project}-nginx"
        self.host = host
        self.path = host.config.config_dir / "nginx/maintenance.conf"

    @property
    def serves(self) -> bool:
        """Return whether there is a front that knows of maintenance."""
        return volume.exists(self.path) and self.host.container_state(self.container) == "running"

    @property
    def closed(self) -> bool:
        """Return whether visitors get the page of maintenance."""
        return volume.exists(self.path) and "default 1;" in volume.read(self.path)

    def turn(self, closed: bool) -> None:
        """Close or open the front and wait until that is live; raise ProblemError when it is not."""
        if not volume.exists(self.path):
            return
        text = volume.read(self.path)
        allowed = re.findall(r"^\s+([0-9a-fA-F.:/]+) 0;$", text, re.MULTILINE)
        mark = " ".join(["on", *allowed]) if closed else "off"
        text = re.sub(r"default [01];", f"default {int(closed)};", text)
        replace(self.path, re.sub(r'default "[^"]*";', f'default "{mark}";', text), 0o644)
        if not self.serves:
            return
        code, out, err = call(
            "docker", "exec", self.container, "nginx", "-c", "/etc/nginx/slipway/nginx.conf", "-s", "reload",
        )  # fmt: skip
        if code or not until(lambda: self._live(mark), 15, pause=0.1):
            raise ProblemError(
                f"{self.container} did not {'close' if closed else 'open'} the site ({(err or out).strip() or 'the old state is live'}): "
                f"`./slipway maintenance -e on={str(closed).lower()}` tries again"
            )

    def _live(self, mark: str) -> bool:
        """Return whether the running nginx has taken a state over."""
        conf = volume.read(self.path.with_name("nginx.conf"))
        port = re.findall(r"listen 127\.0\.0\.1:(\d+)", conf)
        _, out, _ = call("docker", "exec", self.container, "bash", "-c", _ASK % (port or ["0"])[0])
        return out.rstrip().endswith(f" maintenance {mark}")

    def drain(self, seconds: float) -> None:
        """Wait until the requests that run are answered: no statement is under way any more."""
        deadline = time.monotonic() + seconds
        quiet = 0
        while quiet < 2 and time.monotonic() < deadline:
            busy = self.host.server().ask(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() AND state <> 'idle';"
            )
            quiet = quiet + 1 if busy == "0" else 0
            time.sleep(0.2)
