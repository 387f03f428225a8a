"""What destroy takes and what it leaves, and that it says both."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.rendering import ROLES, ROOT, evaluate, load_tasks

files = importlib.import_module("plugins.modules.destroy_files")
report = importlib.import_module("plugins.filter.destroy")
cron = importlib.import_module("plugins.modules.timer_cron")

STATE, CONFIG = "var/lib/slipway/shop", "etc/slipway/shop"
THERE = (
    f"{STATE}/build/app", f"{STATE}/static/a.css", f"{STATE}/current.json", f"{STATE}/other.json",
    f"{STATE}/backups/archive/main", f"{STATE}/backups/backup/main", f"{STATE}/dumps/one.dump",
    f"{CONFIG}/secrets/postgres/password", f"{CONFIG}/secrets/backup/passphrase",
    f"{CONFIG}/nginx/nginx.conf", "mnt/archive/main", "mnt/backup/main", "mnt/somebody-elses",
    "etc/systemd/system/slipway-backup-shop.timer",
)  # fmt: skip
DATA = {THERE[7], THERE[9], THERE[3]}
LOCAL = {f"{STATE}/backups/archive/main", f"{STATE}/backups/backup/main", f"{STATE}/dumps/one.dump"}
REST = {f"{STATE}/build/app", f"{STATE}/static/a.css", f"{STATE}/current.json"}


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [
        ({}, REST),
        ({"destroy_volumes": True}, REST | DATA),
        (
            {"destroy_volumes": True, "destroy_backups": True},
            REST | DATA | LOCAL | {f"{CONFIG}/secrets/backup/passphrase"},
        ),
        ({"destroy_volumes": True, "destroy_backup_directory": "mnt"}, REST | DATA),
        (
            {"destroy_volumes": True, "destroy_backups": True, "destroy_backup_directory": "mnt"},
            REST | DATA | LOCAL
            | {f"{CONFIG}/secrets/backup/passphrase", "mnt/archive/main", "mnt/backup/main"},
        ),
    ],
)  # fmt: skip
def test_backups_go_only_when_they_are_asked_for(
    tmp_path: Path, wanted: dict[str, Any], gone: set[str]
) -> None:
    """They went with the volumes, and nothing said so."""
    for name in THERE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    known = {
        "slipway_project": "shop",
        "slipway_config_dir": f"{tmp_path}/{CONFIG}",
        "slipway_state_dir": f"{tmp_path}/{STATE}",
        "__destroy_systemd": f"{tmp_path}/etc/systemd/system/slipway",
        **wanted,
    }
    if "destroy_backup_directory" in wanted:
        known["destroy_backup_directory"] = f"{tmp_path}/mnt"
    task = next(
        task for task in load_tasks(ROLES / "destroy/tasks/remove.yml") if "destroy_files" in task
    )
    options = {
        name: evaluate("destroy", "given", given=text, **known)
        for name, text in task["destroy_files"].items()
    }
    keep = [Path(one) for one in options["keep"] if os.path.lexists(one)]
    mine = [path for path in options["paths"] if path.startswith(str(tmp_path))]
    found = files.planned(mine, keep)
    for path in found:
        files.remove(path)
    missing = {name for name in THERE if not (tmp_path / name).exists()}
    assert missing == gone | {"etc/systemd/system/slipway-backup-shop.timer"}
    told = "\n".join(
        report.destroy_report(
            {"containers": [], "networks": [], "images": [], "volumes": []},
            map(str, found), map(str, keep), volumes_gone=bool(wanted),
        )
    )  # fmt: skip
    removed, _, kept = told.partition("\nKept: ")
    words = set(removed.replace(";", ",").removesuffix(".").replace("of the host ", "").split(", "))
    words = {word.removeprefix("Removed: ") for word in words}
    for name in THERE:
        above = {str(tmp_path / name), *map(str, (tmp_path / name).parents)}
        assert (name in missing) == bool(above & words)
    assert bool(kept) == bool(keep)


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    """Not into a directory that is to be kept, either."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("x")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/link").symlink_to(tmp_path / "elsewhere")
    for one in files.doomed(tmp_path / "state", [tmp_path / "state/link/file"]):
        files.remove(one)
    assert (tmp_path / "elsewhere/file").exists()


def test_everything_that_goes_is_named() -> None:
    """Containers, networks, images, volumes, each by its name."""
    found = {
        "containers": [{"Names": ["/shop-nginx"]}, {"Names": ["/shop-postgres"]}],
        "networks": [{"Name": "shop-back"}],
        "images": [
            {"Id": "sha256:0123456789abcdef", "RepoTags": None},
            {"Id": "sha256:fedcba9876543210", "RepoTags": ["<none>:<none>"]},
            {"Id": "1", "RepoTags": ["shop:1"]},
        ],
        "volumes": [{"Name": "shop_db_volume"}],
    }
    assert report.destroy_report(found, ["/etc/slipway/shop"], [], True) == [
        "Removed: the containers shop-nginx, shop-postgres; the networks shop-back; "
        "the images 0123456789ab, fedcba987654, shop:1; the volumes shop_db_volume; "
        "of the host /etc/slipway/shop."
    ]
    kept = report.destroy_report(found, [], ["/etc/slipway/shop/secrets"], False)[1]
    assert kept.startswith("Kept: the volumes shop_db_volume; of the host /etc/slipway/shop/secr")


def play(tmp_path: Path, text: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run a play on this machine."""
    (tmp_path / "play.yml").write_text(text)
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,",
         tmp_path / "play.yml", "-e", json.dumps(variables)],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip


def test_a_bare_host_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    """There is no directory of Slipway's on it, in which something was looked for."""
    (tmp_path / "apt").mkdir()
    ours = tmp_path / "apt/90slipway-upgrades-shop"
    ours.write_text("x")
    done = play(
        tmp_path,
        "- hosts: localhost\n"
        "  connection: local\n"
        "  gather_facts: false\n"
        "  tasks:\n"
        "    - ansible.builtin.include_role: {name: security_upgrades, tasks_from: disable}\n",
        slipway_project="shop",
        ansible_python_interpreter=sys.executable,
        __security_upgrades_file=str(ours),
        __security_upgrades_marker=str(tmp_path / "nowhere/marker"),
    )
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    assert not ours.exists()


def test_cron_stays_where_somebody_else_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of another project, a user's own, one that no package brought, a package."""
    monkeypatch.setattr(cron, "needed_by", lambda packages: [])
    monkeypatch.setattr(cron, "changed_table", lambda path: [])
    tables, crontabs = tmp_path / "cron.d", tmp_path / "crontabs"
    for name in (tables, crontabs, tmp_path / "cron.daily"):
        name.mkdir()
    (tables / ".placeholder").write_text("")

    def users() -> list[str]:
        found: list[str] = cron.users_of(tables, crontabs, tmp_path, ["cron"])
        return found

    assert users() == []
    for path in (tables / "slipway-other-backup", crontabs / "www-data", tables / "by-hand",
                 tmp_path / "cron.daily/by-hand"):  # fmt: skip
        path.write_text("x")
        assert users() == [str(path)]
        path.unlink()
    monkeypatch.setattr(cron, "needed_by", lambda packages: ["the package logwatch"])
    assert users() == ["the package logwatch"]


def test_what_a_package_brought_is_no_use_of_cron() -> None:
    """On every Debian apt has such a file, which nobody ran without cron."""
    brought = Path("/etc/cron.daily/dpkg")
    assert cron.of_no_package([brought, Path("/etc/cron.daily/nobody-brought-this")]) == [
        "/etc/cron.daily/nobody-brought-this"
    ]
    assert cron.of_no_package([]) == []
    assert cron.installed(["dpkg", "no-such-package"]) == ["dpkg"]
