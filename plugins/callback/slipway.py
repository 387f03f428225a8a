"""Progress of a playbook that a person can follow: steps, changes, failures, one summary."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.executor.task_result import TaskResult
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.playbook.role_include import IncludeRole
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.color import colorize, hostcolor

DOCUMENTATION = """
name: slipway
type: stdout
short_description: Steps, what changed, what failed, one summary
description:
  - Each role of the plays is a step; a step says how long it took.
  - Of the tasks it names those that changed something, failed or were slow.
  - A failure is one sentence, without the result's JSON.
  - C(-v) adds what the default callback shows.
  - Data that a play gives to M(ansible.builtin.set_stats) as C(slipway_summary), a dictionary of
    label and text, is printed at the end.
  - Messages of M(ansible.builtin.debug) are printed as they are.
requirements:
  - set as stdout_callback in the configuration
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  slow_seconds:
    name: Seconds after which a task is slow
    description: A task that runs longer is named, also when it changes nothing.
    type: float
    default: 2
    env:
      - name: SLIPWAY_SLOW_SECONDS
    ini:
      - section: callback_slipway
        key: slow_seconds
  progress:
    name: Where the progress goes
    description:
      - V(stderr) leaves nothing but the messages of M(ansible.builtin.debug) on the standard
        output, so that a playbook can print JSON for another program.
      - V(quiet) shows no progress and no summary, only what failed, on the standard error.
    type: str
    choices: [stdout, stderr, quiet]
    default: stdout
    env:
      - name: SLIPWAY_PROGRESS
    ini:
      - section: callback_slipway
        key: progress
"""

# Of the control node: what the lock files and the filters need.
OLDEST_PYTHON = (3, 11)
INDENT = " " * 6
STATUS_WIDTH = 16
TIME_WIDTH = 11
MAX_WIDTH = 92
MAX_MESSAGE = 2000
MAX_LINE = 700
MAX_LINES = 12
# A shorter piece of data is a part of the sentence.
MAX_DATA = 100
# Program text has many braces: after some of them that hold no data the others do not either.
MAX_PLAIN = 20
MAX_CHANGED_NAMES = 12
# What Ansible puts before the message that matters.
PREFIXES = re.compile(
    r"^((Task|Module|Action) failed: |Validation of arguments failed:\s*"
    r"|Finalization of task args for '[^']+' failed: |Unexpected \w+ error: "
    r"|The task includes an option with an undefined variable\.+ The error was: )+"
)
SAYS_NOTHING = re.compile(
    r"$|(The command exited with a )?non-zero return code|MODULE FAILURE"
    r"|Failed as requested from task|Module result deserialization failed|Unknown error\.?$"
    r"|(Task|Module|Action) failed\.?$|\(traceback unavailable\)$|One or more items failed$"
)
# What Ansible adds about the place in a playbook, and a template that did not compile.
EXCERPT = re.compile(r"\n+(The error appears to be in|Origin: )[\s\S]*|(?<=\.) String: [\s\S]*")
TRACEBACK = "Traceback (most recent call last)"
# What ansible-core 2.18 and older call the types of a value that came from YAML.
TYPES = {"AnsibleUnicode": "str", "AnsibleMapping": "dict", "AnsibleSequence": "list"}
# What ssh writes last, whatever happened.
CONNECTION_CLOSED = re.compile(r"(Shared c|C)onnection to \S+ closed\.?$")
# Where data may begin, and what it begins with where it was cut or is no valid JSON.
DATA = re.compile(r"[{\[](?=\s*[\"'{\[\]}\d])")
KEY = re.compile(r"[{\[\s]*([\"'])[^\"'\n]{1,80}\1\s*[:,]")
# Where data has its message, the best first.
MESSAGE_KEYS = (
    "msg", "message", "error", "errors", "detail", "reason", "stderr", "module_stderr",
    "exception", "event", "results",
)  # fmt: skip
HIDDEN = "the task handles a secret (no_log), so its output is hidden"


@dataclass
class Step:
    """A role of a play, or (number 0) what a play does outside its roles."""

    title: str
    role: str
    number: int = 0
    key: object = None
    started: float = 0.0
    # Among the steps that are shown.
    place: int = 0
    shown: bool = False
    ran: bool = False
    changed: int = 0
    failed: bool = False


@dataclass
class Running:
    """A task that runs on a host."""

    name: str
    step: Step | None
    started: float = field(default_factory=time.monotonic)


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def ancestors(task: Any) -> Iterator[Any]:
    """Yield the task and everything that it lies in, innermost first."""
    while task is not None:
        yield task
        task = getattr(task, "_parent", None)


def step_of(task: Any) -> tuple[object, str, str] | None:
    """Return key, role and title of the step that a task belongs to; None outside of roles."""
    outermost = None
    for item in ancestors(task):
        if isinstance(item, IncludeRole):
            outermost = item
    if outermost is not None and getattr(outermost, "_role", None) is None:
        role = os.path.basename(str(outermost._role_name))
        start = outermost._from_files.get("tasks")
        title = f"{role}: {os.path.splitext(start)[0]}" if start else role
        return outermost._uuid, role, title
    role_object = getattr(outermost or task, "_role", None)
    if role_object is None:
        return None
    # A role that another one depends on is a part of that step.
    while role_object._parents:
        role_object = role_object._parents[0]
    role = os.path.basename(role_object.get_name())
    start = role_object._from_files.get("tasks")
    title = f"{role}: {os.path.splitext(start)[0]}" if start else role
    return id(role_object), role, title


def tasks_of(blocks: list[Any]) -> Iterator[Any]:
    """Yield the tasks in blocks in their order, without those that only run after a failure."""
    for item in blocks:
        if isinstance(item, Block):
            yield from tasks_of(item.block + item.always)
        else:
            yield item


def steps_of(playbook: Any) -> list[Step]:
    """Return the steps of all plays of a playbook."""
    steps: list[Step] = []

    def add(found: tuple[object, str, str] | None) -> None:
        if found and (not steps or steps[-1].key != found[0]):
            steps.append(Step(title=found[2], role=found[1], number=len(steps) + 1, key=found[0]))

    for play in playbook.get_plays():
        imported = list(tasks_of(play.pre_tasks)), list(tasks_of(play.tasks + play.post_tasks))
        for task in imported[0]:
            add(step_of(task))
        for role in play.roles:
            if not getattr(role, "from_include", False):
                name = os.path.basename(role.get_name())
                add((id(role), name, name))
        for task in imported[1]:
            add(step_of(task))
    return steps


def end_of_data(text: str, start: int) -> int:
    """Return where the list or dictionary that starts in a text ends; 0 where it does not."""
    depth, quote = 0, ""
    for match in re.finditer(r"\\.|[\"'{}\[\]]", text[start:], re.DOTALL):
        sign = match.group()
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if not depth:
                return start + match.end()
    return 0


def parsed(text: str) -> object:
    """Return the dictionary or list that a text is, as JSON or as Python has it; else None."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, (dict, list)) else None
    return None


def without_data(text: str) -> str:
    """Return a text with what the data in it says in place of the data.

    Somebody's sentence may hold a whole result. What is short, or no data, stays.
    """
    written, position, plain = "", 0, 0
    while plain < MAX_PLAIN and (match := DATA.search(text, position)):
        start = match.start()
        data = text[start : end_of_data(text, start) or len(text)]
        value = parsed(data) if len(data) > MAX_DATA else None
        if value is None and (len(data) <= MAX_DATA or not KEY.match(data)):
            plain += len(data) > MAX_DATA
            written += text[position : start + 1]
            position = start + 1
            continue
        if isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value):
            words = ", ".join(str(one) for one in value)
        else:
            words = said(value)
        written += text[position:start] + (words or "[...]")
        position = start + len(data)
    return written + text[position:]


def without_traceback(text: str) -> str:
    """Return a text with the exception in place of its traceback."""
    before, found, after = text.partition(TRACEBACK)
    if not found:
        return text
    # The last one of a chain is what ended the program; its message follows the last frame.
    lines = after.rpartition(TRACEBACK)[2].splitlines()
    frames = [number for number, line in enumerate(lines) if re.match(r'\s+File "', line)]
    message = [line for line in lines[max(frames, default=0) + 1 :] if line[:1].strip()]
    return "\n".join(part for part in (before.strip(), *message) if part)


def said(value: object) -> str:
    """Return what a value has to say to a person, as text: the message in it, else nothing."""
    if isinstance(value, Mapping):
        for key in MESSAGE_KEYS:
            if (text := said(value.get(key))) and not SAYS_NOTHING.match(text):
                return text
        short = ", ".join(f"{key}: {one}" for key, one in value.items())
        fits = len(short) <= MAX_DATA and "\n" not in short
        result = {"changed", "failed"} & set(value)
        nested = any(isinstance(one, Mapping) for one in value.values())
        return short if fits and not result and not nested else ""
    if isinstance(value, (list, tuple)):
        return "\n".join(dict.fromkeys(text for one in value if (text := said(one))))
    if value is None or isinstance(value, bool):
        return ""
    text = PREFIXES.sub("", EXCERPT.sub("", str(value)).strip()).strip()
    if text.startswith(("{", "[")) and (data := parsed(text)) is not None:
        return said(data)
    return without_data(without_traceback(text)).strip()


def last_lines(value: object, count: int = 5) -> str:
    """Return the last lines of a command's output that say something."""
    lines = [line.rstrip() for line in said(value).splitlines() if line.strip()]
    lines = [line for line in lines if not CONNECTION_CLOSED.match(line)]
    return "\n".join([line for line in lines if line != "[...]"][-count:])


def shortened(text: str) -> str:
    """Return a message with its begin and its end, which is advice, if it is long."""
    lines = [
        line
        if len(line) <= MAX_LINE
        else f"{line[: MAX_LINE // 2].rstrip()} [...] {line[-MAX_LINE // 2 :].lstrip()}"
        for line in text.splitlines()
    ]
    left = lines
    if len(left) > MAX_LINES:
        left = [*lines[: MAX_LINES // 2], "[...]", *lines[-MAX_LINES // 2 :]]
    short = "\n".join(left)
    if len(short) > MAX_MESSAGE:
        half = MAX_MESSAGE // 2
        short = f"{short[:half].rstrip()}\n[...]\n{short[-half:].lstrip()}"
    if short == "\n".join(text.splitlines()):
        return short
    where = C.DEFAULT_LOG_PATH or "run again with -v"
    return f"{short}\n(shortened; all of it: {where})"


def argument_error(message: str) -> str:
    """Return Ansible's sentence about a bad variable with the variable's name in front."""
    message = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", message.strip())
    for theirs, ours in TYPES.items():
        message = message.replace(theirs, ours)
    rules = (
        (r"missing required arguments: (?P<n>.+?)(?: found in (?P<i>.+))?$", "{n}: must be set"),
        (
            r"argument '(?P<n>[^']+)' is of type (?P<t>\S+)(?: found in '(?P<i>[^']+)')?\.?"
            r" and we were unable to convert to (?P<w>\w+): ?.*$",
            "{n}: must be of type {w}, and is {t}",
        ),
        (
            r"Elements value for option '(?P<n>[^']+)'(?: found in '(?P<i>[^']+)')?\.?"
            r" is of type (?P<t>\S+) and we were unable to convert to (?P<w>\w+): ?.*$",
            "{n}: its elements must be of type {w}, and one is {t}",
        ),
        (
            r"value of (?P<n>\S+) must be one(?: or more)? of: (?P<w>.+?),"
            r" got(?: no match for)?: (?P<t>.+?)(?: found in (?P<i>.+))?$",
            "{n}: must be one of {w}, and is {t}",
        ),
    )
    for pattern, sentence in rules:
        if match := re.match(pattern, message, re.DOTALL):
            parts = match.groupdict()
            inside = f"{parts['i'].replace(' -> ', '.')}." if parts.get("i") else ""
            return sentence.format(**{**parts, "n": inside + parts["n"]})
    return message


def item_text(value: object) -> str:
    """Return a loop's item if it is short enough to be shown, else nothing."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return text if len(text) <= 40 and "\n" not in text else ""


def message_of(result: Mapping[str, Any]) -> str:
    """Return what a failed result says: its message, or the end of what a command wrote."""
    if "censored" in result:
        return HIDDEN
    if errors := result.get("argument_errors"):
        return "\n".join(argument_error(str(error)) for error in errors)
    for failed in result.get("failed_modules", {}).values():  # of a gathering of facts
        return message_of(failed)
    text = said(result.get("msg"))
    output = last_lines(result.get("stderr")) or last_lines(result.get("module_stderr"))
    output = output or last_lines(result.get("stdout")) or last_lines(result.get("module_stdout"))
    if SAYS_NOTHING.match(text):
        if output:
            text = output
        elif reason := said(result.get("exception")):
            text = reason
        elif "module_stdout" in result:
            text = f"the module ended with {result.get('rc')} without a whole answer; -v shows it"
        elif "rc" in result:
            wrote = result.get("stdout") or result.get("stderr")
            what = "gave no reason; run again with -v for its result" if wrote else "wrote nothing"
            text = f"the command ended with {result['rc']} and {what}"
    if SAYS_NOTHING.match(text) or text == "[...]":
        text = "it gave no reason; run again with -v for its result"
    return text


def give_public_names(results: type) -> None:
    """Give what ansible-core 2.18 and older have with an underscore only its name of today."""
    for name in ("host", "task", "result"):
        if not hasattr(results, name):
            setattr(results, name, property(attrgetter(f"_{name}")))


give_public_names(TaskResult)


class CallbackModule(DefaultCallback):
    """The callback."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "slipway"

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        # The display's own lock: a prompt holds it, so nothing is written over a question.
        self._lock = self._display._lock
        self._started = time.monotonic()
        self._steps: list[Step] = []
        self._places = 0
        self._step: Step | None = None
        self._running: dict[tuple[str, str], Running] = {}
        self._announced: set[tuple[str, str]] = set()
        self._changes: dict[str, dict[str, list[str]]] = {}
        self._failures: dict[str, list[tuple[Step | None, str]]] = {}
        self._hosts = 1
        self._live_line = False
        self._guarded = False
        self._stop = threading.Event()

    # Writing

    @property
    def _check(self) -> bool:
        return bool(context.CLIARGS.get("check"))

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity)

    @property
    def _quiet(self) -> bool:
        return bool(self.get_option("progress") == "quiet")

    @property
    def _to_stderr(self) -> bool:
        return bool(self.get_option("progress") != "stdout")

    @property
    def _stream(self) -> Any:
        return sys.stderr if self._to_stderr else sys.stdout

    @property
    def _live(self) -> bool:
        if self._verbose or self._quiet:
            return False
        return self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def _guard_display(self) -> None:
        """Make room before anybody else (a warning, a worker) writes, where a live line stands."""
        if self._guarded:
            return
        self._guarded = True
        plain = self._display.display

        def display(msg: str, *args: Any, **kwargs: Any) -> None:
            if os.getpid() != self._pid:
                plain(msg, *args, **kwargs)
                return
            with self._lock:
                self._clear()
                plain(msg, *args, **kwargs)

        self._plain = plain
        self._display.display = display

    def _say(self, text: str = "", color: str | None = None, stderr: bool | None = None) -> None:
        """Print a line: of the progress, unless `stderr` says to which stream."""
        if self._quiet and stderr is None:
            return
        with self._lock:
            to_stderr = self._to_stderr if stderr is None else stderr
            self._display.display(text, color=color, stderr=to_stderr)
            # A pipe is read by somebody too: a log that comes at the end is no progress.
            (sys.stderr if to_stderr else sys.stdout).flush()

    def _clear(self) -> None:
        if self._live_line:
            self._live_line = False
            self._plain("\r\033[K", newline=False, screen_only=True, stderr=self._to_stderr)
            self._stream.flush()

    @property
    def _columns(self) -> int:
        return shutil.get_terminal_size((MAX_WIDTH, 24)).columns

    def _row(self, left: str, status: str, seconds: float, color: str | None = None) -> None:
        width = min(MAX_WIDTH, self._columns - 1) - STATUS_WIDTH - TIME_WIDTH
        self._say(
            f"{left:<{width - 1}} {status:<{STATUS_WIDTH}}{duration(seconds):>{TIME_WIDTH}}", color
        )

    # Steps

    def _head(self, step: Step) -> str:
        """Return a step with its place among those in which something was to be done."""
        if not step.number:
            return step.title
        return f"[{step.place or self._places + 1}] {step.title}"

    def _place(self, step: Step) -> None:
        if step.number and not step.place:
            self._places += 1
            step.place = self._places

    def _show_head(self, step: Step | None) -> None:
        if step is not None and not step.shown:
            step.shown = True
            self._place(step)
            if step.title:
                self._say(self._head(step))

    def _find_step(self, task: Any) -> Step | None:
        found = step_of(task)
        if found is None:
            return None
        key, role, title = found
        for step in self._steps:
            if step.key == key:
                return step
        # Copies of a role's object: the next one of that name that did not run yet.
        for step in self._steps:
            if step.role == role and step.title == title and not step.started:
                step.key = key
                return step
        # Only known since an include_tasks brought it.
        step = Step(title=title, role=role, number=len(self._steps) + 1, key=key)
        self._steps.append(step)
        return step

    def _enter(self, task: Any) -> None:
        """Go on to the step that a task belongs to."""
        if isinstance(task, Handler):
            return
        step = self._find_step(task)
        if step is self._step and step is not None:
            return
        if step is not None and step.started:
            return  # a host that lags behind, under the strategy free
        if step is None:
            if self._step is not None and not self._step.number:
                return
            step = Step(title=str(self._play.get_name()).strip() if self._play else "", role="")
        self._close()
        step.started = time.monotonic()
        self._step = step
        if self._verbose and step.number:
            self._say()
            self._show_head(step)

    def _close(self) -> None:
        """End the step: say what it came to and how long it took."""
        step, self._step = self._step, None
        if step is None or not step.number:
            return
        seconds = time.monotonic() - step.started
        if step.failed:
            status, color = "failed", C.COLOR_ERROR
            if self._hosts == 1:
                return
        elif step.changed:
            what = "would change" if self._check else "changed"
            status, color = f"{step.changed} {what}", C.COLOR_CHANGED
        elif step.ran:
            status, color = "ok", C.COLOR_OK
        elif step.shown or self._verbose:
            status, color = "skipped", C.COLOR_SKIP
        else:
            # Nothing was to be done in it.
            return
        self._place(step)
        left = INDENT if step.shown and not self._verbose else self._head(step)
        self._row(left, status, seconds, color)

    # What runs now

    def _tick(self) -> None:
        while not self._stop.wait(min(1.0, self._slow / 2)):
            with self._lock:
                self._refresh()

    @property
    def _slow(self) -> float:
        return max(0.1, float(self.get_option("slow_seconds")))

    def _refresh(self) -> None:
        """Show the step and its slow task: on a terminal in one line that goes away again."""
        step = self._step
        if step is None or self._stop.is_set():
            return
        now = time.monotonic()
        if not self._live:
            if step.number and now - step.started > self._slow:
                self._show_head(step)
            return
        text = INDENT.rstrip(" ") if step.shown else self._head(step)
        oldest = min(self._running.values(), key=lambda task: task.started, default=None)
        if oldest and now - oldest.started > self._slow:
            lead = INDENT if step.shown else f"{text}  "
            more = f" (and {len(self._running) - 1} more)" if len(self._running) > 1 else ""
            text = f"{lead}{oldest.name}{more} ... {duration(now - oldest.started).split('.')[0]}"
            text += "" if text.endswith("s") else " s"
        if not text.strip():
            return
        self._plain(
            f"\r\033[K{text[: self._columns - 1]}",
            newline=False,
            screen_only=True,
            stderr=self._to_stderr,
        )
        self._stream.flush()
        self._live_line = True

    # Events of the run

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Count the steps; end the run on a Python that is too old before it does anything."""
        super().v2_playbook_on_start(playbook)
        if sys.version_info < OLDEST_PYTHON:
            wanted, there = (".".join(map(str, v[:2])) for v in (OLDEST_PYTHON, sys.version_info))
            raise SystemExit(
                f"slipway: Ansible runs on Python {there} here ({sys.executable}), and Slipway "
                f"needs {wanted} or newer on the control node: start it by ./slipway, which makes "
                "an environment with one, or install Ansible for a newer Python."
            )
        self._guard_display()
        self._stop.set()
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._steps = steps_of(playbook)
        self._places = 0
        self._step = None
        self._changes, self._failures = {}, {}
        if self._check:
            self._say("Check mode: nothing will be changed; this is what a run would do.")
        threading.Thread(target=self._tick, daemon=True).start()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Begin a play; its name is shown with its first line."""
        with self._lock:
            self._close()
            self._running.clear()
            if self._verbose:
                super().v2_playbook_on_play_start(play)
            self._play = play
            manager = play.get_variable_manager()
            names = manager.get_vars(play=play).get("ansible_play_hosts_all", ())
            self._hosts = len(names)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say which pattern found nobody."""
        hosts = self._play.hosts
        pattern = ",".join(hosts) if isinstance(hosts, list) else str(hosts)
        self._say(
            f'No host matches "{pattern}" of the play "{self._play.get_name()}": look at the'
            " inventory (-i) and at --limit.",
            C.COLOR_WARN,
            self._to_stderr,
        )

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Show it with -v: the failures said it already."""
        if self._verbose:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_vars_prompt(self, *args: Any, **kwargs: Any) -> None:
        """Leave the line to the question."""
        with self._lock:
            self._close()
            self._clear()

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        with self._lock:
            self._enter(task)
            if self._verbose:
                super()._task_start(task, prefix)
            elif self._step is not None and self._live and not self._step.shown:
                self._refresh()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Take the time."""
        with self._lock:
            self._enter(task)  # the strategies free and host_pinned
            # A pause asks something: it is not slow, the person is.
            if task.action.rpartition(".")[2] != "pause":
                name = self._name(task, host.get_name())
                self._running[(host.get_name(), task._uuid)] = Running(name, self._step)
            if self._verbose:
                super().v2_runner_on_start(host, task)

    def _name(self, task: Any, host: str, action_only: str = "") -> str:
        """Return a task's name, with its host where there are several."""
        name = str(task.name or action_only or task.action).strip()
        step = self._find_step(task)
        if step is not None and step is not self._step:
            name = f"{step.role} | {name}"
        return f"[{host}] {name}" if self._hosts > 1 else name

    def _finished(self, result: Any) -> tuple[Step | None, float]:
        key = (result.host.get_name(), result.task._uuid)
        running = self._running.pop(key, None)
        step = self._find_step(result.task) or self._step
        return step, time.monotonic() - running.started if running else 0.0

    def _items(self, result: Any) -> str:
        """Return which items of a loop changed, where that is short to say."""
        if not result.task.loop or "censored" in result.result:
            return ""
        results = [one for one in result.result.get("results", []) if isinstance(one, dict)]
        changed = [one for one in results if one.get("changed")]
        labels = [item_text(self._get_item_label(one)) for one in changed]
        if 0 < len(labels) <= 3 and all(labels):
            return f" ({', '.join(labels)})"
        return f" ({len(changed)} of {len(results)})" if results else ""

    def _announce_change(self, result: Any, seconds: float) -> None:
        """Print a changed task, once: its diff comes before its result."""
        key = (result.host.get_name(), result.task._uuid)
        if key in self._announced:
            self._announced.discard(key)
            return
        self._show_head(self._step)
        what = "would change" if self._check else "changed"
        name = self._name(result.task, self.host_label(result)) + self._items(result)
        self._row(INDENT + name, what, seconds, C.COLOR_CHANGED)

    def v2_on_file_diff(self, result: Any) -> None:
        """Print a diff under the name of its task."""
        if self._verbose:
            super().v2_on_file_diff(result)
            return
        results = result.result.get("results") if result.task.loop else [result.result]
        diffs = [
            text
            for one in results or []
            if isinstance(one, dict) and one.get("diff") and one.get("changed")
            if (text := self._get_diff(one["diff"]))
        ]
        if not diffs:
            return
        with self._lock:
            key = (result.host.get_name(), result.task._uuid)
            running = self._running.get(key)
            self._announce_change(result, time.monotonic() - running.started if running else 0.0)
            self._announced.add(key)
            for diff in diffs:
                self._say(diff.rstrip("\n"))
                self._say()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print what changed and what was slow."""
        with self._lock:
            step, seconds = self._finished(result)
            if step is not None:
                step.ran = True
            changed = bool(result.result.get("changed"))
            if changed:
                self._note_change(result, step)
            if self._verbose:
                super().v2_runner_on_ok(result)
                return
            self._handle_warnings(result.result)
            if result.task.action in C._ACTION_DEBUG:
                self._print_message(result)
            elif changed:
                self._announce_change(result, seconds)
            elif seconds > self._slow:
                self._show_head(self._step)
                name = self._name(result.task, self.host_label(result))
                self._row(INDENT + name, "ok", seconds, C.COLOR_OK)

    def _note_change(self, result: Any, step: Step | None) -> None:
        if step is not None:
            step.changed += 1
        by_role = self._changes.setdefault(result.host.get_name(), {})
        found = step_of(result.task)
        name = str(result.task.name or result.task.action).strip()
        names = by_role.setdefault(found[1] if found else "", [])
        if name not in names:
            names.append(name)

    def _print_message(self, result: Any) -> None:
        """Print what a debug task says, as it says it."""
        if "censored" in result.result:
            return
        results = result.result.get("results") if result.task.loop else [result.result]
        for one in results or []:
            if not isinstance(one, dict) or one.get("skipped"):
                continue
            message = one.get("msg")
            if isinstance(message, list) and all(isinstance(line, str) for line in message):
                message = "\n".join(message)
            if not isinstance(message, str):
                self._clean_results(one, result.task.action)
                message = self._dump_results(one, indent=4)
            if self._step is not None and self._step.number:
                self._show_head(self._step)
            if self._hosts > 1 and not result.task.run_once:
                self._say(f"[{self.host_label(result)}]")
            self._say(message, stderr=False)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Say nothing."""
        with self._lock:
            self._finished(result)
            if self._verbose:
                super().v2_runner_on_skipped(result)
            else:
                self._handle_warnings(result.result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Say in one sentence what failed, unless a rescue deals with it."""
        with self._lock:
            step, seconds = self._finished(result)
            sentence = self._failure(result)
            host = result.host.get_name()
            # Ansible takes a host that failed for good out of the play before it calls.
            rescued = not ignore_errors and host not in self._play._removed_hosts
            name = self._name(result.task, self.host_label(result))
            if self._verbose:
                super().v2_runner_on_failed(result, ignore_errors)
                if rescued:
                    self._say("...rescued", C.COLOR_SKIP)
            else:
                self._handle_warnings(result.result)
            if ignore_errors:
                if not self._verbose:
                    self._show_head(self._step)
                    self._row(INDENT + name, "ignored", seconds, C.COLOR_WARN)
                return
            if rescued:
                return
            if step is not None:
                step.failed = True
            self._failures.setdefault(host, []).append((step, self._full_name(result)))
            self._fail(sentence)

    def _fail(self, sentence: str) -> None:
        self._show_head(self._step)
        stderr = self._to_stderr or bool(self.get_option("display_failed_stderr"))
        if not self._quiet:
            self._say(stderr=stderr)
        self._say(f"FAILED  {sentence}", C.COLOR_ERROR, stderr)
        if self._hosts > 1:
            self._say(stderr=stderr)

    def _full_name(self, result: Any) -> str:
        found = step_of(result.task)
        name = str(result.task.name or result.task.action).strip()
        if any("argument_errors" in one for one in self._bad_items(result)):
            name = "variables"
        return f"{found[1]} | {name}" if found else name

    def _failure(self, result: Any) -> str:
        """Return the sentence: where, and what the failed result (of a loop: its items) says."""
        where = self._full_name(result)
        if self._hosts > 1:
            where = f"[{self.host_label(result)}] {where}"
        failed = self._bad_items(result)
        if failed == [result.result]:
            return self._sentence(where, message_of(result.result))
        messages = []
        for one in failed:
            label = item_text(self._get_item_label(one))
            text = message_of(one)
            bare = not label or "censored" in one or "argument_errors" in one
            messages.append(text if bare else f"{label}: {text}")
        return self._sentence(where, "\n".join(dict.fromkeys(messages)))

    @staticmethod
    def _bad_items(result: Any) -> list[Any]:
        """Return the failed results of a loop; without a loop, the result."""
        items = result.result.get("results") if result.task.loop else None
        failed = [
            one
            for one in items or []
            # Since ansible-core 2.21 a callback knows a failed item by its exception.
            if isinstance(one, dict)
            and one.get("failed_when_result", one.get("failed", "exception" in one))
        ]
        return failed or [result.result]

    @staticmethod
    def _sentence(where: str, message: str) -> str:
        lines = shortened(message).splitlines() or [""]
        if len(lines) == 1:
            return f"{where}: {lines[0]}"
        return "\n        ".join([f"{where}:", *lines])

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say which host does not answer, and where to look."""
        with self._lock:
            step, _ = self._finished(result)
            if self._verbose:
                super().v2_runner_on_unreachable(result)
            else:
                self._handle_warnings(result.result)
            if result.task.ignore_unreachable:
                return
            host = result.host.get_name()
            if step is not None:
                step.failed = True
            self._failures.setdefault(host, []).append((step, f"{host} is unreachable"))
            lines = shortened(message_of(result.result)).splitlines()
            reason = " ".join(line.strip() for line in lines if line.strip()).rstrip(".")
            self._fail(
                f"{host} is unreachable: {reason}.\n        Look at ansible_host, ansible_port,"
                f" ansible_user and the SSH key of {host} in the inventory."
            )

    # What only a reader of details wants, and the items of loops, which the task's result has too

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Show it with -v."""
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Show it with -v."""
        self._item(super().v2_runner_item_on_ok, result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Show it with -v."""
        self._item(super().v2_runner_item_on_failed, result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Show it with -v."""
        self._item(super().v2_runner_item_on_skipped, result)

    def _item(self, show: Any, result: Any) -> None:
        if self._verbose:
            show(result)
        else:
            self._handle_warnings(result.result)

    def v2_runner_retry(self, result: Any) -> None:
        """Show it with -v."""
        if self._verbose:
            super().v2_runner_retry(result)

    def v2_runner_on_async_poll(self, result: Any) -> None:
        """Show it with -v."""
        if self._verbose:
            super().v2_runner_on_async_poll(result)

    def v2_runner_on_async_ok(self, result: Any) -> None:
        """Show it with -v."""
        if self._verbose:
            super().v2_runner_on_async_ok(result)

    def v2_runner_on_async_failed(self, result: Any) -> None:
        """Show it with -v."""
        if self._verbose:
            super().v2_runner_on_async_failed(result)

    # The end

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the summary and, for programs, Ansible's own recap lines."""
        with self._lock:
            self._close()
            self._stop.set()
            self._clear()
            self._summary(stats)
            self._recap(stats)

    def _summary(self, stats: Any) -> None:
        seconds = duration(time.monotonic() - self._started)
        hosts = sorted(stats.processed)
        self._say()
        if self._failures:
            steps = {
                step.number: step for fails in self._failures.values() for step, _ in fails if step
            }
            first = steps.get(min(steps)) if steps else None
            where = f" in step {self._head(first)}" if first and first.number else ""
            self._say(f"Failed{where} after {seconds}", C.COLOR_ERROR)
        elif self._check:
            self._say(f"Checked in {seconds}; nothing was changed", C.COLOR_OK)
        else:
            self._say(f"Done in {seconds}", C.COLOR_OK)
        rows_of_run = self._given(stats, "_run")
        self._print_rows(rows_of_run)
        for host in hosts:
            rows = self._given(stats, host)
            if len(hosts) > 1:
                rows += [("Failed", [name]) for _, name in self._failures.get(host, [])]
            if host in self._changes or self._steps:
                label = "Would change" if self._check else "Changed"
                rows.append((label, self._changed_lines(host)))
            if rows and len(hosts) > 1:
                self._say(f"  {host}")
            self._print_rows(rows, "    " if len(hosts) > 1 else "  ")

    @staticmethod
    def _given(stats: Any, host: str) -> list[tuple[str, list[str]]]:
        """Return the rows that a play gave through set_stats."""
        given = stats.custom.get(host, {}).get("slipway_summary", {})
        if not isinstance(given, Mapping):
            given = {"Summary": given}
        rows = []
        for label, value in given.items():
            values = value if isinstance(value, (list, tuple)) else str(value).splitlines()
            rows.append((str(label), [str(line) for line in values]))
        return rows

    def _print_rows(self, rows: list[tuple[str, list[str]]], indent: str = "  ") -> None:
        width = max((len(label) for label, _ in rows), default=0)
        for label, lines in rows:
            for number, line in enumerate(lines or [""]):
                self._say(f"{indent}{label if number == 0 else '':<{width}}  {line}".rstrip())

    def _changed_lines(self, host: str) -> list[str]:
        by_role = self._changes.get(host, {})
        count = sum(len(names) for names in by_role.values())
        if not count:
            return ["nothing"]
        if count > MAX_CHANGED_NAMES:
            parts = [f"{role or 'play'} {len(names)}" for role, names in by_role.items()]
            return [f"{count} tasks: {', '.join(parts)}"]
        return [
            f"{role}: {name}" if role else name for role, names in by_role.items() for name in names
        ]

    def _recap(self, stats: Any) -> None:
        columns = (
            ("ok", "ok", C.COLOR_OK),
            ("changed", "changed", C.COLOR_CHANGED),
            ("unreachable", "unreachable", C.COLOR_UNREACHABLE),
            ("failed", "failures", C.COLOR_ERROR),
            ("skipped", "skipped", C.COLOR_SKIP),
            ("rescued", "rescued", C.COLOR_OK),
            ("ignored", "ignored", C.COLOR_WARN),
        )
        self._say()
        for host in sorted(stats.processed):
            numbers = stats.summarize(host)
            counts = " ".join(colorize(name, numbers[key], color) for name, key, color in columns)
            self._say(f"{hostcolor(host, numbers)} : {counts}".rstrip())
        if stats.custom and self.get_option("show_custom_stats"):
            for host, values in stats.custom.items():
                self._say(f"{host}: {self._dump_results(values)}")
