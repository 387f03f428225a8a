"""Attempts to let a release serve: how they begin, end, and where one goes back to.

The modules that use it have the parameters state_dir, project, schema_command, patience, and for
`target` release and force.
"""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway.flask_host import RELEASE, Ledger, docker, now, replace


def schema_of(module: Any) -> tuple[str, str]:
    """Return the revision of the database's schema, and why it is not known when it is not."""
    command = module.params["schema_command"]
    if not command:
        return "", ""
    code, out, err = module.run_command(command)
    lines = str(err or out).strip().splitlines()
    return ("", lines[-1] if lines else "no answer") if code else (out.strip(), "")


def clear(module: Any) -> None:
    """Remove what plays that were killed left; a migration may end first."""
    label = f"--filter=label=slipway.project={module.params['project']}"
    for part in ("migrate", "static"):
        for name in docker(
            module, "ps", "--all", label, f"--filter=label=slipway.part={part}",
            "--format={{.Names}}",
        ).split():  # fmt: skip
            if part == "migrate":
                patience = str(module.params["patience"])
                module.run_command(["timeout", patience, "docker", "wait", name])
            docker(module, "rm", "--force", name, check=False)
    # A build context may hold the password of a package index.
    shutil.rmtree(Path(module.params["state_dir"]) / "build", ignore_errors=True)


def begin(module: Any, ledger: Ledger, entry: dict[str, Any], spec: dict[str, Any]) -> None:
    """Add an entry for an attempt that begins now."""
    clear(module)
    ledger.settle(schema_of(module)[0])
    ledger.entries.append(
        {"release": entry["release"], "outcome": "running", "began": now(), **entry}
    )
    # What is known of the image stays known, also where the release was deployed before.
    # Of another release of the same image.
    for shipped in ledger.shipped(spec.get("build", ""))[-1:]:
        spec = {**spec, **shipped}
    text = json.dumps(spec, indent=1) + "\n"
    replace(ledger.state_dir / "releases" / f"{entry['release']}.json", text, 0o600)
    ledger.write()


def end(module: Any, ledger: Ledger) -> dict[str, float]:
    """Complete the attempt that runs; return the seconds of its stages."""
    given, clock = module.params["entry"], module.params["clock"]
    stages = {
        name: round(float(after) - float(before), 2)
        for (_, before), (name, after) in pairwise(clock)
    }
    entry = next((one for one in reversed(ledger.entries) if one["outcome"] == "running"), None)
    if entry is None:
        return stages
    entry.update(
        {name: value for name, value in given.items() if value}, ended=now(), stages=stages,
        image_id=image_id(module, given["image"]) or None,
    )  # fmt: skip
    if entry["outcome"] == "healthy":
        entry["schema"] = schema_of(module)[0]
        ledger.leave(entry)
    ledger.write()
    return stages


def image_id(module: Any, image: str) -> str:
    """Return the id of an image, or nothing when it is not on the host."""
    found: str = docker(module, "image", "inspect", "--format={{.Id}}", image, check=False)
    return found


def target(module: Any, ledger: Ledger) -> dict[str, Any]:
    """Return the spec of the release to go back to; fail the module when there is none."""
    # In memory: what a killed play left counts already.
    ledger.settle("")
    wanted = module.params["release"]
    serving = ledger.serving
    if not serving:
        module.fail_json(msg="no release serves that one could go back from: deploy first.")
    known = list(dict.fromkeys(entry["release"] for entry in reversed(ledger.entries)))
    if wanted:
        if not RELEASE.fullmatch(wanted) or wanted not in known:
            module.fail_json(msg=f"there is no release '{wanted}': ./slipway releases lists them.")
        if wanted == serving:
            module.fail_json(msg=f"release {wanted} serves already, so nothing was changed.")
        candidates = [wanted]
    else:
        candidates = [release for release in ledger.healthy() if release != serving]
        if not candidates:
            module.fail_json(
                msg=f"there is no earlier healthy release than {serving} to go back to:"
                " ./slipway releases lists what there was."
            )
    spec: dict[str, Any] = {}
    for release in candidates:
        path = ledger.state_dir / "releases" / f"{release}.json"
        there = json.loads(path.read_text()) if path.exists() else None
        if there and image_id(module, there["image"]):
            spec = there
            break
    if not spec:
        module.fail_json(
            msg=f"the image of {', '.join(candidates)} is no longer on the host, and a rollback"
            " builds nothing: deploy its source instead."
        )
    release = spec["release"]
    then = next(
        (entry.get("schema") for entry in reversed(ledger.entries)
         if entry["release"] == release and entry.get("schema")), "",
    )  # fmt: skip
    schema, unknown = schema_of(module)
    if unknown and not module.params["force"]:
        module.fail_json(
            msg=f"the database does not tell its schema ({unknown}), so nobody knows whether"
            f" release {release} can work with it: nothing was changed."
            " Go back all the same with -e force=true."
        )
    if schema and not then and not module.params["force"]:
        module.fail_json(
            msg=f"nobody noted which schema release {release} was made for, so nobody knows whether"
            f" it can work with {schema}: nothing was changed. Go back all the same with"
            " -e force=true."
        )
    if schema and schema != then and not module.params["force"]:
        module.fail_json(
            msg=f"the database's schema is {schema}, and release {release} was made for {then} and"
            " does not know it: nothing was changed. If its code works with it all the same"
            " (an added table or column, say), go back with -e force=true."
        )
    return spec
