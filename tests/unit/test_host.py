"""What a host is: its release by the texts that releases really have, and its memory."""

from __future__ import annotations

import importlib

import pytest

from tests.unit.rendering import ROLES, evaluate, load_tasks

host = importlib.import_module("plugins.filter.host")

# As they stand in /etc/os-release; addresses of web pages are left out.
BOOKWORM = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
"""
TRIXIE = """\
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
NAME="Debian GNU/Linux"
VERSION_ID="13"
VERSION="13 (trixie)"
VERSION_CODENAME=trixie
DEBIAN_VERSION_FULL=13.8
ID=debian
"""
FORKY = """\
PRETTY_NAME="Debian GNU/Linux forky/sid"
NAME="Debian GNU/Linux"
VERSION_CODENAME=forky
ID=debian
"""
# As testing was written before it had a field for the codename.
FORKY_OF_OLD = """\
PRETTY_NAME="Debian GNU/Linux forky/sid"
NAME="Debian GNU/Linux"
ID=debian
"""
BULLSEYE = """\
PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"
NAME="Debian GNU/Linux"
VERSION_ID="11"
VERSION="11 (bullseye)"
VERSION_CODENAME=bullseye
ID=debian
"""
JAMMY = """\
PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.5 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=jammy
"""
NOBLE = """\
PRETTY_NAME="Ubuntu 24.04.1 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.1 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=noble
LOGO=ubuntu-logo
"""
RESOLUTE = """\
PRETTY_NAME="Ubuntu Resolute Raccoon (development branch)"
NAME="Ubuntu"
VERSION_ID="26.04"
VERSION="26.04 (Resolute Raccoon)"
VERSION_CODENAME=resolute
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=resolute
"""
PLUCKY = """\
PRETTY_NAME="Ubuntu 25.04"
NAME="Ubuntu"
VERSION_ID="25.04"
VERSION="25.04 (Plucky Puffin)"
VERSION_CODENAME=plucky
ID=ubuntu
ID_LIKE=debian
"""
# Another distribution may have a codename of Debian's, or name Ubuntu's besides its own.
MINT = """\
NAME="Linux Mint"
VERSION="22 (Wilma)"
ID=linuxmint
ID_LIKE="ubuntu debian"
PRETTY_NAME="Linux Mint 22"
VERSION_CODENAME=wilma
UBUNTU_CODENAME=noble
"""
RASPBIAN = """\
PRETTY_NAME="Raspbian GNU/Linux 12 (bookworm)"
NAME="Raspbian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=raspbian
ID_LIKE=debian
"""
FEDORA = """\
NAME="Fedora Linux"
VERSION="42 (Server Edition)"
ID=fedora
VERSION_ID=42
VERSION_CODENAME=""
PRETTY_NAME="Fedora Linux 42 (Server Edition)"
"""


@pytest.mark.parametrize(
    ("text", "distribution", "codename"),
    [
        (BOOKWORM, "debian", "bookworm"),
        (TRIXIE, "debian", "trixie"),
        (FORKY, "debian", "forky"),
        (FORKY_OF_OLD, "debian", "forky"),
        (JAMMY, "ubuntu", "jammy"),
        (NOBLE, "ubuntu", "noble"),
        (RESOLUTE, "ubuntu", "resolute"),
    ],
)
def test_a_supported_release_is_known_by_its_codename(
    text: str, distribution: str, codename: str
) -> None:
    """Debian testing has no number, so numbers decide nothing."""
    assert host.host_release(text) == {
        "distribution": distribution,
        "codename": codename,
        "refusal": "",
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (BULLSEYE, "Debian GNU/Linux 11 (bullseye)"),
        (PLUCKY, "Ubuntu 25.04"),
        (MINT, "Linux Mint 22"),
        (RASPBIAN, "Raspbian GNU/Linux 12 (bookworm)"),
        (FEDORA, "Fedora Linux 42 (Server Edition)"),
        ("", "a system without /etc/os-release"),
        ("ID='unclosed\n# comment = none\nnothing\n", "unclosed"),
    ],
)
def test_any_other_is_refused_by_its_name(text: str, name: str) -> None:
    """The sentence says what it is, and what would do."""
    refusal = host.host_release(text)["refusal"]
    assert refusal.startswith(f"runs {name}, which Slipway does not support")
    assert "Debian 12 (bookworm)" in refusal
    assert "the next Debian (forky)" in refusal


def test_an_unsupported_host_is_refused_before_anything_is_touched() -> None:
    """The check is the first of preflight's tasks on the host, and preflight the play's first."""
    names = [task["name"] for task in load_tasks(ROLES / "preflight/tasks/host.yml")]
    assert names.index("host | Refuse a system that is not supported") == 1
    play = load_tasks(ROLES.parent / "playbooks/site.yml")[0]
    deploy = next(task for task in play["tasks"] if "block" in task)
    assert deploy["block"][0]["ansible.builtin.import_role"]["name"] == "preflight"
    # What comes before looks only.
    before = play["tasks"][: play["tasks"].index(deploy)]
    looks = [task["slipway_look"] for task in before if "slipway_look" in task]
    assert [set(one) for one in looks] == [{"record", "watch"}]
    others = {tuple(task)[1] for task in before if "slipway_look" not in task}
    assert others <= {
        "ansible.builtin.import_role", "ansible.builtin.include_vars", "slipway_plan",
        "ansible.builtin.debug", "ansible.builtin.fail", "ansible.builtin.set_stats",
        "ansible.builtin.meta",
    }  # fmt: skip


@pytest.mark.parametrize("nominal", [512, 1024, 2048, 3072, 4096, 6144, 8192, 16384, 24576, 65536])
def test_limits_do_not_follow_what_a_kernel_keeps_for_itself(nominal: int) -> None:
    """Two to six hundredths are missing, and with each kernel some others."""
    found = {host.host_memory_mb(nominal * part // 1000) for part in range(940, 1001)}
    assert found == {nominal * 7 // 8}


@pytest.mark.parametrize("reported", [449, 513, 961, 1025, 2049, 4097, 33000])
def test_limits_fit_the_host_whatever_it_has(reported: int) -> None:
    """The defaults add up to less than there is, on an odd machine too."""
    facts = {"memtotal_mb": reported, "processor_nproc": 2, "processor_vcpus": 2}
    limits = [
        int(evaluate(role, f"{role}_memory_mb", ansible_facts=facts))
        for role in ("flask", "nginx", "postgres")
    ]
    assert sum(limits) <= reported
