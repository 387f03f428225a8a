"""What a person sees of a run: each test runs a small playbook and looks at the output."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from plugins.callback.slipway import argument_error, give_public_names, message_of, shortened

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+) ", re.M)

ONE = f"web1 ansible_connection=local ansible_python_interpreter={sys.executable}\n"
TWO = ONE + ONE.replace("web1", "web2")


class Project:
    """A directory with roles, a playbook and an inventory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.write("inventory", ONE)
        self.write("ansible.cfg", "")

    def write(self, name: str, text: str) -> None:
        """Write a file below the directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def role(self, name: str, tasks: str) -> None:
        """Write a role's tasks."""
        self.write(f"roles/{name}/tasks/main.yml", tasks)

    def play(self, text: str) -> None:
        """Write the playbook: one play on all hosts."""
        head = "- name: The play\n  hosts: all\n  gather_facts: false\n"
        self.write("site.yml", head + textwrap.indent(textwrap.dedent(text), "  "))

    def environment(self, **settings: str) -> dict[str, str]:
        """Return an environment in which only the settings of this test count."""
        mine = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {
            **mine,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "plugins/callback"),
            "ANSIBLE_STDOUT_CALLBACK": "slipway",
            "ANSIBLE_ROLES_PATH": str(self.directory / "roles"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / ".tmp"),
            **settings,
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs the playbook."""
        return [str(BIN / "ansible-playbook"), "-i", "inventory", "site.yml", *arguments]

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook into a pipe."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def run_on_terminal(self, *arguments: str, **settings: str) -> str:
        """Run the playbook on a terminal; return what it wrote there."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment(**settings),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError as error:  # the end of a terminal, on Linux
                if error.errno != errno.EIO:
                    raise
                part = b""
            if not part:
                break
            written += part
        os.close(ours)
        process.wait()
        return written.decode()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return an empty project."""
    return Project(tmp_path)


CHANGE = """
- name: configure | Write the file
  ansible.builtin.assert: {that: true, quiet: true}
  changed_when: true
"""
NOTHING = """
- name: validate | Look
  ansible.builtin.assert: {that: true, quiet: true}
"""


def test_steps_changes_and_summary(project: Project) -> None:
    """Steps are counted, a changed task is named, the summary has what the play gave."""
    project.role("alpha", CHANGE)
    project.role("beta", NOTHING)
    project.write("roles/beta/tasks/retire.yml", CHANGE.replace("configure", "retire"))
    project.play(
        """
        roles: [alpha, beta]
        tasks:
          - name: Retire
            ansible.builtin.include_role: {name: beta, tasks_from: retire.yml}
          - name: Summary
            ansible.builtin.set_stats:
              per_host: true
              data:
                slipway_summary: {URL: "http://127.0.0.1:8080", Release: abc, Secrets: /etc/x}
        """
    )
    done = project.run()
    assert done.returncode == 0, done.stderr
    steps = re.findall(r"^(\[\d\] .*?)(?:  .*)?$", done.stdout, re.M)
    assert steps == ["[1] alpha", "[2] beta", "[3] beta: retire"]
    assert re.search(r"^\[2\] beta +ok +\d+\.\d s$", done.stdout, re.M)
    assert re.search(r"^ +configure \| Write the file +changed +\d+\.\d s$", done.stdout, re.M)
    assert "validate | Look" not in done.stdout
    summary = done.stdout[done.stdout.index("\nDone in ") :]
    labels = re.findall(r"^  (\w+)  ", summary, re.M)
    assert labels == ["URL", "Release", "Secrets", "Changed"]
    assert "alpha: configure | Write the file\n" in summary
    assert RECAP.findall(done.stdout) == [("web1", "2", "0", "0")]
    assert "\033" not in done.stdout
    assert "TASK [" not in done.stdout


def test_a_failure_is_one_sentence(project: Project) -> None:
    """Role, task and message; no JSON, no code excerpt; the step that failed in the summary."""
    project.role(
        "alpha",
        """
        - name: validate | Look for the port
          ansible.builtin.fail: {msg: "Port 80 is taken: stop nginx."}
        """,
    )
    project.play("roles: [alpha]")
    done = project.run()
    assert done.returncode == 2
    assert (
        "\nFAILED  alpha | validate | Look for the port: Port 80 is taken: stop nginx.\n"
        in done.stdout
    )
    assert "Failed in step [1] alpha" in done.stdout
    assert "fatal:" not in done.stdout + done.stderr
    assert "Origin:" not in done.stdout + done.stderr
    assert "{" not in done.stdout
    assert RECAP.findall(done.stdout) == [("web1", "0", "0", "1")]

    verbose = project.run("-v")
    assert "fatal: [web1]: FAILED! =>" in verbose.stdout
    assert "TASK [alpha : validate | Look for the port]" in verbose.stdout
    assert "FAILED  alpha | validate | Look for the port: Port 80 is taken" in verbose.stdout


def test_a_silent_command_shows_its_last_lines(project: Project) -> None:
    """A command has no message of its own: the end of what it wrote is it."""
    project.role(
        "alpha",
        """
        - name: run | Migrate
          ansible.builtin.shell: "echo early; seq 9 >&2; echo 'no such table: cats' >&2; exit 3"
          changed_when: false
        """,
    )
    project.play("roles: [alpha]")
    done = project.run()
    assert re.search(
        r"^FAILED  alpha \| run \| Migrate:\n( {8}\d\n){4} {8}no such table: cats$",
        done.stdout,
        re.M,
    )
    assert "early" not in done.stdout


def test_older_releases_of_ansible_are_understood() -> None:
    """Their results have other names, and their types too: else a failure was no line at all."""

    class Older:
        _host, _task, _result = "web1", "a task", {"msg": "No."}

    give_public_names(Older)
    older: Any = Older()
    assert (older.host, older.task, older.result) == ("web1", "a task", {"msg": "No."})
    theirs = "<class 'ansible.parsing.yaml.objects.AnsibleUnicode'>"
    said = f"argument 'x' is of type {theirs} and we were unable to convert to int: {theirs} no"
    assert argument_error(said) == "x: must be of type int, and is str"


PROGRAM = "line of a program\n" * 3000
RESULT = {"changed": False, "invocation": {"module_args": {"program": PROGRAM}}}
TRACE = """\
Traceback (most recent call last):
  File "a.py", line 3, in <module>
    x()
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 3, in y
    raise
RuntimeError: it broke
"""
SILENT = "it gave no reason; run again with -v for its result"
FULL = {**RESULT, "msg": "No disk"}
CLOSED = "Shared connection to web1 closed.\r\n"
BROKEN = "Module result deserialization failed: Extra data"


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({**RESULT}, SILENT),
        ({**RESULT, "msg": "Task failed: Module failed: Unknown error."}, SILENT),
        ({**RESULT, "msg": "Task failed: Module failed: No disk."}, "No disk."),
        ({"msg": {**RESULT, "msg": "No disk."}}, "No disk."),
        ({"msg": {"port": 80, "host": "web1"}}, "port: 80, host: web1"),
        ({"msg": ["No disk.", RESULT, {"msg": "No memory."}]}, "No disk.\nNo memory."),
        ({"msg": json.dumps(RESULT)}, SILENT),
        ({"msg": f"web1: {json.dumps(FULL)}; add one."}, "web1: No disk; add one."),
        ({"msg": f"web1: {FULL}; add one."}, "web1: No disk; add one."),
        ({"msg": f"web1: {RESULT}; add one."}, "web1: [...]; add one."),
        ({"msg": f"web1: {json.dumps(RESULT)[:9000]}"}, "web1: [...]"),
        ({"msg": "Port {a} [x] of {'a': 1}: stop it."}, "Port {a} [x] of {'a': 1}: stop it."),
        ({"msg": f"Unknown: {['language'] * 12}."}, f"Unknown: {', '.join(['language'] * 12)}."),
        (
            {"msg": BROKEN, "module_stdout": json.dumps(RESULT)[:30000], "rc": 137},
            "the module ended with 137 without a whole answer; -v shows it",
        ),
        (
            {"msg": BROKEN, "module_stdout": json.dumps(RESULT) + TRACE, "rc": 1},
            "RuntimeError: it broke",
        ),
        ({"msg": BROKEN, "module_stdout": "no json\n", "module_stderr": CLOSED}, "no json"),
        (
            {"msg": "MODULE FAILURE\nSee stdout/stderr", "module_stderr": TRACE},
            "RuntimeError: it broke",
        ),
        ({"msg": "MODULE FAILURE", "exception": TRACE}, "RuntimeError: it broke"),
        ({"msg": f"Can't load it: {TRACE}"}, "Can't load it:\nRuntimeError: it broke"),
        (
            {"msg": "non-zero return code", "rc": 1, "stdout": '{"changed": false, "msg": "No."}'},
            "No.",
        ),
        (
            {"msg": "non-zero return code", "rc": 1, "stdout": json.dumps(RESULT)},
            "the command ended with 1 and gave no reason; run again with -v for its result",
        ),
        (
            {
                "msg": "The task includes an option with an undefined variable. The error was:"
                " 'x' is undefined"
                "\n\nThe error appears to be in '/site.yml': line 3,"
                " column 7, but may\nbe elsewhere."
            },
            "'x' is undefined",
        ),
        (
            {"msg": f"template error while templating string: unexpected '}}'. String: {PROGRAM}"},
            "template error while templating string: unexpected '}'.",
        ),
    ],
)
def test_a_failure_is_what_a_person_can_read(result: dict[str, Any], sentence: str) -> None:
    """Of every shape of result: its message, never the data, the program or the template in it."""
    assert message_of(result) == sentence


@pytest.mark.parametrize(
    "message",
    ["x" * 50_000, PROGRAM, "{ ['x' " * 9000, '{"a": [' * 9000, f"{'é{' * 9000}"],
)
def test_a_long_failure_keeps_its_begin_and_its_advice(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle it is cut, and it says where all of it is."""
    began = time.monotonic()
    text = shortened(message_of({"msg": f"web1: {message}\nadd a disk."}))
    assert time.monotonic() - began < 5
    assert len(text) < 2200
    assert len(text.splitlines()) < 16
    assert text.startswith("web1: ")
    if "[...]" in text.splitlines()[0] and "(shortened" not in text:
        return  # it was data to its end
    assert text.endswith("\nadd a disk.\n(shortened; all of it: run again with -v)")
    monkeypatch.setattr("ansible.constants.DEFAULT_LOG_PATH", "/var/log/ansible.log", raising=False)
    assert shortened(PROGRAM).endswith("(shortened; all of it: /var/log/ansible.log)")


def test_a_loop_with_whole_files_names_none_of_them(project: Project) -> None:
    """Neither the item nor the result of a module that broke is shown; with -v they are."""
    project.write(
        "library/broken.py",
        """\
        from ansible.module_utils.basic import AnsibleModule
        module = AnsibleModule(argument_spec={"item": {"type": "dict"}})
        print('{"changed": false, "text": "%s"}' % ("x" * 40000))
        raise RuntimeError("it broke")
        """,
    )
    project.role(
        "alpha",
        """
        - name: configure | Write
          broken: {item: "{{ item }}"}
          loop: [{name: a, text: "{{ 'secret words ' * 3000 }}"}, {name: b, text: x}]
        """,
    )
    project.play("roles: [alpha]")
    settings = {"ANSIBLE_LIBRARY": str(project.directory / "library")}
    done = project.run(**settings)
    assert "\nFAILED  alpha | configure | Write: it broke\n" in done.stdout
    assert len(done.stdout) < 1200
    assert "secret words" not in done.stdout + done.stderr
    assert "secret words" in project.run("-v", **settings).stdout


def test_a_loop_names_the_item(project: Project) -> None:
    """Only the items that failed are shown."""
    project.role(
        "alpha",
        """
        - name: validate | Compare
          ansible.builtin.assert: {that: item != 'b', fail_msg: "{{ item }} is too old."}
          loop: [a, b, c]
        """,
    )
    project.play("roles: [alpha]")
    done = project.run()
    assert "\nFAILED  alpha | validate | Compare: b: b is too old.\n" in done.stdout
    assert done.stdout.count("too old") == 1


def test_bad_variables_have_a_line_each(project: Project) -> None:
    """Argument specs: the name of the variable first."""
    project.role("alpha", NOTHING)
    project.write(
        "roles/alpha/meta/argument_specs.yml",
        """
        argument_specs:
          main:
            short_description: Alpha.
            options:
              alpha_port: {type: int, default: 80, description: Port.}
              alpha_mode: {type: str, choices: [slow, fast], default: fast, description: Mode.}
              alpha_name: {type: str, required: true, description: Name.}
              alpha_list: {type: list, elements: int, default: [], description: List.}
              alpha_tls:
                type: dict
                description: Encryption.
                options: {days: {type: int, description: Days.}}
        """,
    )
    project.play("roles: [alpha]")
    bad = "alpha_port: x\nalpha_mode: quick\nalpha_list: [x]\nalpha_tls: {days: x}\n"
    project.write("group_vars/all.yml", bad)
    done = project.run()
    failure = done.stdout[done.stdout.index("FAILED") : done.stdout.index("\n\nFailed in")]
    head, *lines = failure.splitlines()
    assert head == "FAILED  alpha | variables:"
    assert sorted(line.strip() for line in lines) == [
        "alpha_list: its elements must be of type int, and one is str",
        "alpha_mode: must be one of slow, fast, and is quick",
        "alpha_name: must be set",
        "alpha_port: must be of type int, and is str",
        "alpha_tls.days: must be of type int, and is str",
    ]


def test_a_rescued_failure_is_none(project: Project) -> None:
    """A block that rescues itself says nothing; what its rescue reports counts."""
    project.role(
        "alpha",
        """
        - name: Try
          block:
            - name: run | Start
              ansible.builtin.fail: {msg: no start}
          rescue:
            - name: run | Clean up
              ansible.builtin.assert: {that: true, quiet: true}
            - name: run | Report
              ansible.builtin.fail: {msg: "The old release still serves."}
              when: report | default(false)
        """,
    )
    project.play("roles: [alpha]")
    done = project.run()
    assert done.returncode == 0
    assert "no start" not in done.stdout
    assert "FAILED" not in done.stdout
    assert re.search(r"^\[1\] alpha +ok ", done.stdout, re.M)
    assert re.search(r"^  Changed  nothing$", done.stdout, re.M)
    assert "changed=0 " in done.stdout

    done = project.run("-e", "{report: true}")
    assert done.returncode == 2
    assert "no start" not in done.stdout
    assert "FAILED  alpha | run | Report: The old release still serves.\n" in done.stdout


def test_secrets_stay_hidden(project: Project) -> None:
    """no_log holds for changes, loops, failures and diffs."""
    project.role(
        "alpha",
        """
        - name: configure | Write the secrets
          ansible.builtin.copy:
            content: "{{ item }}"
            dest: "{{ playbook_dir }}/secret"
            mode: "0600"
          loop: [hush1]
          no_log: true
        - name: configure | Use the secret
          ansible.builtin.fail: {msg: hush3 is wrong}
          no_log: true
        """,
    )
    project.play("roles: [alpha]")
    done = project.run("--diff")
    assert re.search(r"configure \| Write the secrets +changed", done.stdout)
    assert (
        "FAILED  alpha | configure | Use the secret: the task handles a secret (no_log)"
        in done.stdout
    )
    assert "hush" not in done.stdout + done.stderr


def test_an_unreachable_host_is_one_sentence(project: Project) -> None:
    """Which host, why, and where to look."""
    project.write("inventory", "far ansible_host=127.0.0.1 ansible_port=1\n")
    project.role("alpha", "- name: run | Ask\n  ansible.builtin.ping:\n")
    project.play("roles: [alpha]")
    done = project.run()
    assert done.returncode == 4
    assert re.search(r"^FAILED  far is unreachable: .*\n +Look at ansible_host", done.stdout, re.M)
    assert RECAP.findall(done.stdout) == [("far", "0", "1", "0")]


def test_check_mode_says_so(project: Project) -> None:
    """First line, task line and summary; a diff stands below the name of its task."""
    project.role(
        "alpha",
        """
        - name: configure | Write the file
          ansible.builtin.copy:
            content: "new\\n"
            dest: "{{ playbook_dir }}/file"
            mode: "0600"
        """,
    )
    project.play("roles: [alpha]")
    done = project.run("--check", "--diff")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Check mode: nothing will be changed")
    named = next(number for number, line in enumerate(lines) if "Write the file" in line)
    assert "would change" in lines[named]
    assert lines.index("+new") > named
    assert done.stdout.count("configure | Write the file") == 2
    assert "  Would change  alpha: configure | Write the file" in lines
    assert "nothing was changed" in done.stdout
    assert not (project.directory / "file").exists()


@pytest.mark.parametrize("strategy", ["linear", "free"])
def test_several_hosts_are_named(project: Project, strategy: str) -> None:
    """Each line says whose it is; a failure of one does not end the other."""
    project.write("inventory", TWO)
    project.role("alpha", CHANGE)
    project.role(
        "beta",
        """
        - name: validate | Compare
          ansible.builtin.assert: {that: inventory_hostname == 'web1', fail_msg: Too old.}
        - name: configure | Go on
          ansible.builtin.assert: {that: true, quiet: true}
          changed_when: true
        """,
    )
    project.play(f"strategy: {strategy}\nroles: [alpha, beta]")
    done = project.run()
    assert re.search(
        r"^ +\[web1\] (alpha \| )?configure \| Write the file +changed", done.stdout, re.M
    )
    assert re.search(
        r"^ +\[web2\] (alpha \| )?configure \| Write the file +changed", done.stdout, re.M
    )
    assert "\nFAILED  [web2] beta | validate | Compare: Too old.\n" in done.stdout
    assert re.search(r"^ +\[web1\] configure \| Go on +changed", done.stdout, re.M)
    assert RECAP.findall(done.stdout) == [("web1", "2", "0", "0"), ("web2", "1", "0", "1")]


def test_ignored_failures_and_warnings_are_lines(project: Project) -> None:
    """Neither is lost, neither looks like a failure."""
    project.role(
        "alpha",
        """
        - name: validate | Try
          ansible.builtin.fail: {msg: "not there"}
          ignore_errors: true
        - name: validate | Warn
          ansible.builtin.assert: {that: true, quiet: true}
          vars: {ansible_python_interpreter: auto}
          register: matches
        """,
    )
    project.play("roles: [alpha]")
    done = project.run("--limit", "web1,nobody")
    assert re.search(r"validate \| Try +ignored", done.stdout)
    assert "FAILED" not in done.stdout
    assert "[WARNING]" in done.stderr


def test_messages_are_printed_as_they_are(project: Project) -> None:
    """A debug message is for people; with progress=stderr it is all of the standard output."""
    project.play(
        """
        tasks:
          - name: Show
            ansible.builtin.debug: {msg: [two, lines]}
        """
    )
    done = project.run(SLIPWAY_PROGRESS="stderr")
    assert done.stdout == "two\nlines\n"
    assert RECAP.search(done.stderr)


def test_quiet_shows_only_what_failed(project: Project) -> None:
    """For a verb whose output is that of another program: nothing, or a sentence on stderr."""
    project.role(
        "alpha", CHANGE + "\n- name: Try\n  ansible.builtin.fail: {msg: No.}\n  when: bad\n"
    )
    project.play("roles: [alpha]")
    done = project.run("-e", "{bad: false}", SLIPWAY_PROGRESS="quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = project.run("-e", "{bad: true}", SLIPWAY_PROGRESS="quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "FAILED  alpha | Try: No.\n"
    project.write("site.yml", "- name: The play\n  hosts: nobody\n")
    assert 'No host matches "nobody"' in project.run(SLIPWAY_PROGRESS="quiet").stderr
    assert "\033[K" not in project.run_on_terminal(SLIPWAY_PROGRESS="quiet")


SLOW = """
- name: build | Take longer
  ansible.builtin.command: sleep 1
  changed_when: false
"""


def test_a_slow_task_is_named_in_a_log(project: Project) -> None:
    """Without a terminal, when it ends, with its time."""
    project.role("alpha", SLOW + "\n- name: ask | Wait\n  ansible.builtin.pause: {seconds: 1}\n")
    project.play("roles: [alpha]")
    done = project.run(SLIPWAY_SLOW_SECONDS="0.5")
    assert re.search(r"^ +build \| Take longer +ok +\d\.\d s$", done.stdout, re.M)
    assert "ask | Wait" not in done.stdout  # the person is slow, not the task
    assert "\033" not in done.stdout
    assert "\r" not in done.stdout


def test_a_slow_task_is_shown_on_a_terminal_while_it_runs(project: Project) -> None:
    """In a line that is gone at the end, so that the result reads as without a terminal."""
    project.role("alpha", SLOW)
    project.play("roles: [alpha]")
    written = project.run_on_terminal(SLIPWAY_SLOW_SECONDS="0.5")
    assert re.search(r"\r\033\[K\[1\] alpha  build \| Take longer \.\.\. \d+ s", written)
    assert "\033[0;32m" in written
    left = [re.sub(r"^.*\r\033\[K", "", line.rstrip("\r")) for line in written.split("\n")]
    plain = [re.sub(r"\033\[[\d;]*m", "", line) for line in left]
    assert not [line for line in plain if "..." in line or "\r" in line]
    assert [line for line in plain if re.fullmatch(r" +build \| Take longer +ok +\d\.\d s", line)]


def test_colour_is_a_matter_of_the_terminal_and_the_settings(project: Project) -> None:
    """None on a terminal that forbids it, some in a pipe that is forced."""
    project.role("alpha", CHANGE)
    project.play("roles: [alpha]")
    assert "\033[0;" not in project.run_on_terminal(ANSIBLE_NOCOLOR="1")
    assert "\033[0;33m" in project.run(ANSIBLE_FORCE_COLOR="1").stdout


def test_a_python_that_is_too_old_ends_the_run_at_its_start(project: Project) -> None:
    """In a sentence, before anything is done: a filter would else fail in the middle."""
    callback = (ROOT / "plugins/callback/slipway.py").read_text()
    assert callback.count("OLDEST_PYTHON = (3, 11)") == 1
    project.write("callbacks/slipway.py", callback.replace("= (3, 11)", "= (4, 0)"))
    project.role("alpha", CHANGE)
    project.play("roles: [alpha]")
    ran = project.run(ANSIBLE_CALLBACK_PLUGINS=str(project.directory / "callbacks"))
    assert ran.returncode != 0
    assert "needs 4.0 or newer on the control node" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "alpha" not in ran.stdout
