"""What holds for every YAML file of the project, whichever role it is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from jinja2 import nodes

from tests.unit.rendering import ROOT

FILES = sorted(
    path
    for part in ("roles", "playbooks", "molecule", "inventories", "tests")
    for path in (ROOT / part).rglob("*.yml")
)
# Their arguments are regular expressions, for which `\n` is a line break all the same.
REGEX = {"regex_findall", "regex_replace", "regex_search", "search", "match", "regex"}
# Those that apply the filter or the test that their first argument names.
APPLY = {"map", "select", "reject", "selectattr", "rejectattr"}


def scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield the scalars of a YAML document."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from scalars(one)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from scalars(key)
            yield from scalars(value)


def kept(text: str) -> str:
    """Return a template with its backslashes doubled, which is how Ansible keeps them."""
    return text.replace("\\", "\\\\")


def takes_regex(node: nodes.Node) -> bool:
    """Say whether the arguments of a filter or test are regular expressions."""
    if not isinstance(node, (nodes.Filter, nodes.Test)):
        return False
    names = [node.name.rpartition(".")[2]]
    if names[0] in APPLY:
        names = [one.value for one in node.args if isinstance(one, nodes.Const)]
    return bool(REGEX & set(map(str, names)))


def with_backslash(node: nodes.Node, regex: bool = False) -> Iterator[str]:
    """Yield the strings of a template that have a backslash and are no regular expression."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        if "\\" in node.value and not regex:
            yield node.value
        return
    for field, value in node.iter_fields():
        # What a pattern is put together of is one, too, but not what is replaced in it.
        arguments = isinstance(node, (nodes.Filter, nodes.Test)) and field in ("args", "kwargs")
        inner = takes_regex(node) if arguments else regex
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, nodes.Node):
                yield from with_backslash(one, inner)


# In the checksum of the base images, where it has to stay: another one would build them all again.
EXCEPTED = {"roles/base_images/vars/main.yml": 1}


def problems(text: str) -> list[str]:
    """Return what is wrong with the templates of a YAML file."""
    environment = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])  # noqa: S701
    return [
        f"line {scalar.start_mark.line + 1}: {found}"
        for document in yaml.compose_all(text, Loader=yaml.SafeLoader)
        if document
        for scalar in scalars(document)
        if "\\" in scalar.value and ("{{" in scalar.value or "{%" in scalar.value)
        for found in with_backslash(environment.parse(kept(scalar.value)))
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_relies_on_an_escape(path: Path) -> None:
    r"""Ansible keeps the backslash of `'\n'` in a template: nothing is split there, or replaced."""
    found = problems(path.read_text())
    assert len(found) == EXCEPTED.get(str(path.relative_to(ROOT)), 0), found


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (r"a: >-" "\n" r"  {{ x | split('\n') | last }}", True),
        (r"a: >-" "\n" r"  {{ x.split('\n') | last }}", True),
        (r"""a: '{{ x | replace("\\", "/") }}'""", True),
        (r"a: {b: [{c: '{{ [y] | map(''replace'', ''\t'', '' '') }}'}]}", True),
        (r"""a: "{{ x | split('\\n') }}" """, True),
        (r"a: '{{ x | select(''match'', y | map(''replace'', ''\*'', '''') | first) }}'", True),
        # There YAML makes the line break.
        (r"""a: "{{ x | split('\n') }}" """, False),
        (r"a: '{{ x | regex_findall(''\d\n'') }}'", False),
        (r"a: '{{ x | select(''match'', ''\d'') | map(''regex_replace'', ''\n'') }}'", False),
        # A bare expression is taken as it is.
        (r"when: x.split('\n') | length == 2", False),
        (r"a: printf '\n'", False),
    ],
)  # fmt: skip
def test_an_escape_is_found(text: str, wrong: bool) -> None:
    """In each style of YAML, however deep; a regular expression is left alone."""
    assert bool(problems(text)) == wrong


def test_ansible_keeps_the_backslash() -> None:
    """Else there would be nothing to look for: this is what the check is about."""
    templar = Templar(loader=DataLoader(), variables={"x": "a\nb"})

    def said(expression: str) -> Any:
        return templar.template(trust_as_template("{{ " + expression + " }}"))

    assert said(r"x.split('\n')") == ["a\nb"]
    assert said("x.splitlines()") == ["a", "b"]
    assert said(r"x | regex_findall('a\n')") == ["a\n"]
