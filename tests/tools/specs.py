"""Hold each role's argument specs to its defaults, and the tables of variables to the specs.

python tests/tools/specs.py --check    say what does not agree, and exit 1
python tests/tools/specs.py --write    write the tables into the roles' READMEs, and the index
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BEGIN = "<!-- variables:begin -->"
END = "<!-- variables:end -->"
SHARED = "slipway_"
TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "dict": dict,
    "float": (float, int),
    "int": int,
    "list": list,
    "path": str,
    "str": str,
}


@dataclass
class Role:
    """What a role declares: its options by name, of all entry points, and its defaults."""

    name: str
    directory: Path
    description: str
    entry_points: dict[str, dict[str, dict[str, Any]]]
    defaults: dict[str, Any]

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Return the options of all entry points, those of `main` first."""
        names = sorted(self.entry_points, key=lambda name: (name != "main", name))
        merged: dict[str, dict[str, Any]] = {}
        for entry_point in names:
            for name, option in self.entry_points[entry_point].items():
                merged.setdefault(name, option)
        return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, empty if there is none; raise ValueError if broken."""
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping.")
    return content


def read_role(directory: Path) -> Role:
    """Return what the role in a directory declares."""
    specs = read_yaml(directory / "meta/argument_specs.yml").get("argument_specs", {})
    return Role(
        name=directory.name,
        directory=directory,
        description=specs.get("main", {}).get("short_description", ""),
        entry_points={name: spec.get("options") or {} for name, spec in specs.items()},
        defaults=read_yaml(directory / "defaults/main.yml"),
    )


def read_roles(root: Path) -> list[Role]:
    """Return the roles of a project, in the order of their names."""
    return [read_role(path) for path in sorted((root / "roles").glob("*/")) if any(path.iterdir())]


def is_template(value: object) -> bool:
    """Return whether a value is only known when Ansible runs."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def is_sentence(text: object) -> bool:
    """Return whether a text is one sentence with its full stop."""
    if not isinstance(text, str) or not text.endswith(".") or "\n" in text.strip():
        return False
    return not re.search(r"[.!?] +[A-Z]", text)


def same(first: object, second: object) -> bool:
    """Return whether two values are equal and of one type: 1, True and "1" are three values."""
    return json.dumps(first, sort_keys=True, default=str) == json.dumps(
        second, sort_keys=True, default=str
    )


def check_option(where: str, name: str, option: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one option of a spec, as sentences."""
    kind = option.get("type")
    if kind not in TYPES and kind != "raw":
        yield f"{where}: {name} has no type; give it one of {', '.join(sorted(TYPES))}."
    if not is_sentence(option.get("description")):
        yield f"{where}: the description of {name} must be one sentence that ends in a full stop."
    if option.get("required") and "default" in option:
        yield f"{where}: {name} is required, so it must not have a default."
    if kind == "list" and "elements" not in option:
        yield f"{where}: {name} is a list; say in `elements` of what."
    if "default" in option and not is_template(option["default"]):
        default = option["default"]
        wanted = TYPES.get(str(kind), object)
        is_wrong_bool = isinstance(default, bool) and kind in {"int", "float"}
        if not isinstance(default, wanted) or is_wrong_bool:
            yield f"{where}: the default of {name}, {default!r}, is not of its type {kind}."
        elif "choices" in option:
            chosen = default if isinstance(default, list) else [default]
            if not all(one in option["choices"] for one in chosen):
                yield f"{where}: the default of {name}, {default!r}, is none of its choices."
    for inner, inner_option in (option.get("options") or {}).items():
        yield from check_option(where, f"{name}.{inner}", inner_option)


def check_role(role: Role) -> Iterator[str]:
    """Yield what does not agree between a role's specs and its defaults, as sentences."""
    specs = f"roles/{role.name}/meta/argument_specs.yml"
    defaults = f"roles/{role.name}/defaults/main.yml"
    if "main" not in role.entry_points:
        yield f"{specs} has no entry point main; declare every input of the role there."
        return
    for options in role.entry_points.values():
        for name, option in options.items():
            if not name.startswith((f"{role.name}_", SHARED)):
                yield f"{specs}: {name} must start with {role.name}_ or {SHARED}."
            yield from check_option(specs, name, option)
            if option.get("required"):
                if name in role.defaults:
                    yield f"{defaults} sets {name}, which {specs} requires; drop one of the two."
            elif "default" not in option:
                yield f"{specs}: {name} is neither required nor has a default."
            elif name not in role.defaults:
                yield f"{defaults} lacks {name}, for which {specs} has a default."
            elif not same(role.defaults[name], option["default"]):
                yield (
                    f"{defaults} sets {name} to {role.defaults[name]!r},"
                    f" but {specs} says {option['default']!r}."
                )
    for name in role.defaults:
        if name not in role.options:
            yield f"{specs} lacks {name}, which {defaults} sets."


def check_shared(roles: list[Role]) -> Iterator[str]:
    """Yield the variables that roles share and that mean different things to them."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for role in roles:
        for name, option in role.options.items():
            if not name.startswith(SHARED):
                continue
            owner, known = first.setdefault(name, (role.name, option))
            for key in ("type", "default"):
                if not same(known.get(key), option.get(key)):
                    yield (
                        f"roles/{role.name}/meta/argument_specs.yml: the {key} of {name} is"
                        f" {option.get(key)!r}, but roles/{owner} says {known.get(key)!r}."
                    )


def code(value: object) -> str:
    """Return a value as Markdown code that a table can hold."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    # A table splits its cells at a bar, also within code.
    return f"`{text}`".replace("|", "\\|")


def table(options: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of some options."""
    lines = ["| variable | default | what it does |", "|---|---|---|"]
    for name, option in options.items():
        default = code(option["default"]) if "default" in option else "required"
        text = str(option.get("description", "")).replace("|", "\\|")
        if "choices" in option:
            text += f" One of {', '.join(code(choice) for choice in option['choices'])}."
        lines.append(f"| `{name}` | {default} | {text} |")
    return "\n".join(lines)


def is_of_a_user(option: dict[str, Any]) -> bool:
    """Return whether an inventory sets an option; the rest is between the play and the role."""
    return "the play passes" not in str(option.get("description", ""))


def index(roles: list[Role]) -> str:
    """Return the names of the variables that an inventory sets, by role, with links."""
    shared: dict[str, dict[str, Any]] = {}
    parts = []
    for role in roles:
        own = []
        for name, option in role.options.items():
            if not is_of_a_user(option):
                continue
            if name.startswith(SHARED):
                shared.setdefault(name, option)
            else:
                own.append(f"`{name}`")
        if own:
            link = f"[{role.name}](../roles/{role.name}/README.md)"
            parts.append(f"## {link}\n\n{role.description}\n\n{', '.join(own)}")
    if shared:
        parts.insert(0, f"## All roles\n\n{table(shared)}")
    return "\n\n".join(parts)


def with_table(text: str, content: str) -> str | None:
    """Return a document with its table replaced, None when it has no place for one."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        return None
    return pattern.sub(lambda _: f"{BEGIN}\n{content}\n{END}", text, count=1)


def documents(root: Path, roles: list[Role]) -> dict[Path, tuple[str, str]]:
    """Return each document with its table and with what to begin it with if it does not exist."""
    found = {root / "docs/variables.md": (index(roles), "# Variables")}
    for role in roles:
        head = f"# {role.name}\n\n{role.description}"
        found[role.directory / "README.md"] = (table(role.options), head)
    return found


def check_documents(root: Path, roles: list[Role]) -> Iterator[str]:
    """Yield the README files whose table is stale or missing, as sentences."""
    remedy = "run `python tests/tools/specs.py --write`"
    for path, (content, _) in documents(root, roles).items():
        name = path.relative_to(root)
        if not path.exists():
            yield f"{name} does not exist; {remedy}."
            continue
        text = path.read_text()
        new = with_table(text, content)
        if new is None:
            yield f"{name} has no lines `{BEGIN}` and `{END}`; add them where the table belongs."
        elif new != text:
            yield f"{name} has a stale table of variables; {remedy}."


def write_documents(root: Path, roles: list[Role]) -> Iterator[str]:
    """Write the tables; yield what could not be written, as sentences."""
    for path, (content, head) in documents(root, roles).items():
        text = path.read_text() if path.exists() else f"{head}\n\n{BEGIN}\n{END}\n"
        new = with_table(text, content)
        if new is None:
            name = path.relative_to(root)
            yield f"{name} has no lines `{BEGIN}` and `{END}`; add them where the table belongs."
        elif not path.exists() or new != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(new)


def check_specs(roles: list[Role]) -> Iterator[str]:
    """Yield what does not agree within the roles, as sentences."""
    for role in roles:
        yield from check_role(role)
    yield from check_shared(roles)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="say what is stale (the default)")
    mode.add_argument("--write", action="store_true", help="write the tables")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    options = parser.parse_args(arguments)
    try:
        roles = read_roles(options.root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    problems = list(check_specs(roles))
    tables = write_documents if options.write else check_documents
    problems += tables(options.root, roles)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
