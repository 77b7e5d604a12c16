"""The command as a whole: each subcommand takes the options that all share, says what it does, and is tested."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from hippo_messenger.cli.main import app
from hippo_messenger.queues.trail import StepKind

TESTS = Path(__file__).parents[1]
GUIDE = TESTS.parent / "docs" / "guides" / "command.md"
GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)


def words_of_tests() -> set[str]:
    """Every text that stands in an integration test."""
    trees = [ast.parse(path.read_text()) for path in (TESTS / "integration").glob("test_*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value for node in nodes if isinstance(node.value, str)}


WORDS = words_of_tests()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_run_by_an_integration_test(name: str) -> None:
    assert name in WORDS, f"no test runs hippo {name}"


def whole(group: Any, *names: str) -> dict[str, Any]:
    """Every command and group within one, by its whole name."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found[" ".join((*names, name))] = command
        if hasattr(command, "commands"):
            found |= whole(command, *names, name)
    return found


WHOLE = whole(GROUP)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_every_command_takes_the_same_three_options_and_says_what_it_does(name: str) -> None:
    command = WHOLE[name]
    options = {option for parameter in command.params for option in parameter.opts}
    is_group = hasattr(command, "commands")
    assert is_group or {"--redis", "--prefix", "--catalogue"} <= options
    assert (command.help or "").split("\n")[0].endswith("."), command.help


def test_the_guide_says_what_every_word_of_hippo_tail_means() -> None:
    rows = [line.split("|")[1] for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(get_args(StepKind))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_takes_a_value_says_in_capitals_which(name: str) -> None:
    takers = [one for one in WHOLE[name].params if not getattr(one, "is_flag", False)]
    assert [one.opts for one in takers if not one.metavar or one.metavar != one.metavar.upper()] == []
