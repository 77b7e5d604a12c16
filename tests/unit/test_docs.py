"""The documents and what they are about don't drift apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hippo_messenger
from hippo_messenger import errors
from hippo_messenger.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_test_that_the_delivery_contract_names_is_there_and_none_is_left_out() -> None:
    text = (ROOT / "docs" / "delivery-contract.md").read_text()
    named = set(re.findall(r"\btest_[a-z0-9_]+\b", text))
    files = {path.stem: path.read_text() for path in (ROOT / "tests" / "contract").glob("test_*.py")}
    tests = {name for source in files.values() for name in re.findall(r"def (test_\w+)", source)}
    elsewhere = {path.stem for path in (ROOT / "tests" / "integration").glob("test_scripts_*.py")}

    assert named <= tests | set(files) | elsewhere, "the contract names tests that are not there"
    assert files.keys() <= named
    # What is more about the programming interface than about delivery has no sentence there.
    assert len(tests - named) < 10, sorted(tests - named)


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `HIPPO_(\w+)` \| `(.*?)` \|", text, flags=re.MULTILINE))
    assert rows == {name.upper(): str(field.default) for name, field in Settings.model_fields.items()}


@pytest.mark.parametrize("name", ["register.mjs", "send.mjs", "worker.mjs"])
def test_the_wire_contract_shows_the_programs_that_the_tests_run(name: str) -> None:
    assert (ROOT / "examples" / "node" / name).read_text() in (ROOT / "docs" / "wire-contract.md").read_text()


def test_the_readme_shows_the_first_event_that_a_test_runs() -> None:
    program = (ROOT / "examples" / "first_event.py").read_text()
    assert program in (ROOT / "README.md").read_text()
    assert len([line for line in program.splitlines() if line.strip()]) <= 20


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for document in DOCUMENTS:
        if document.is_relative_to(ROOT / "docs") and document.name != "index.md":
            assert str(document.relative_to(ROOT / "docs")) in index


def test_the_public_names_are_sorted_and_there() -> None:
    assert hippo_messenger.__all__ == sorted(hippo_messenger.__all__)
    for name in hippo_messenger.__all__:
        assert getattr(hippo_messenger, name).__doc__ or name in ("Processor", "RedisSource")
    assert set(errors.__all__) <= set(hippo_messenger.__all__)


def test_every_exception_is_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        assert errors.__doc__ is not None
        assert name == "FieldError" or name in errors.__doc__
