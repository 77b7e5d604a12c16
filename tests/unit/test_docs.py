"""The documents and what they are about don't drift apart."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import hippo_messenger
from hippo_messenger import errors
from hippo_messenger.catalogue.catalogue import RESERVED_NAMES
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PICTURES = sorted((ROOT / "docs").rglob("*.svg"))


SAMPLE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
PROGRAM_LANGUAGES = {"python", "py", "pycon", "javascript", "js", "mjs", "typescript", "ts"}


def without_code(text: str) -> str:
    """A document without what only looks like a link or a heading."""
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", "", code[0]), SAMPLE.sub("", text))


def links(document: Path) -> list[tuple[Path, str]]:
    """The file and the anchor of every link, and of every picture, to something in this repository."""
    text = without_code(document.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    local = [target.partition("#") for target in targets if not re.match(r"[a-z]+:", target)]
    return [((document.parent / path) if path else document, anchor) for path, _, anchor in local]


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub makes anchors of them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", SAMPLE.sub("", document.read_text()), flags=re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{sum(known.startswith(slug) for known in found)}")
    return set(found)


def is_excerpt(sample: str, program: str) -> bool:
    """Whether a sample is whole lines of a program, moved to the left margin at most; empty ones don't count."""
    wanted = [line for line in sample.split("\n") if line.strip()]
    lines = [line for line in program.split("\n") if line.strip()]
    places = (lines[start : start + len(wanted)] for start in range(len(lines) - len(wanted) + 1))
    return any(textwrap.dedent("\n".join(place)).rstrip("\n").split("\n") == wanted for place in places)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in links(document):
        assert path.exists(), f"{document.name} links to {path}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{document.name} links to #{anchor} of {path.name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sample_is_a_part_of_an_example_that_the_document_links(document: Path) -> None:
    linked = [path.read_text() for path, _ in links(document) if path.suffix in (".py", ".mjs") and path.exists()]
    assert not re.search(r"^([ \t]+```|[ \t]*~~~)", document.read_text(), flags=re.MULTILINE), (
        "begin code at the margin"
    )
    for language, sample in SAMPLE.findall(document.read_text()):
        if language in PROGRAM_LANGUAGES:
            assert any(is_excerpt(sample, program) for program in linked), f"{document.name} makes up:\n{sample}"


def test_a_sample_that_differs_is_no_excerpt() -> None:
    program = "def f():\n    if x:\n        return 1\n    return 2\n"
    assert is_excerpt("if x:\n    return 1\n", program)
    assert is_excerpt(program, program)
    assert not is_excerpt("if x:\nreturn 1\n", program)
    assert not is_excerpt("return 1\nreturn 2\n", program)
    assert not is_excerpt("return\n", program)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_every_picture_has_a_text_is_shown_and_suits_the_dark(picture: Path) -> None:
    drawing = ElementTree.fromstring(picture.read_text())
    assert drawing.find("{http://www.w3.org/2000/svg}title") is not None
    assert "prefers-color-scheme: dark" in picture.read_text()
    assert any(path.resolve() == picture for document in DOCUMENTS for path, _ in links(document))


def test_every_test_that_the_delivery_contract_names_is_there_and_none_is_left_out() -> None:
    text = (ROOT / "docs" / "delivery-contract.md").read_text()
    named = set(re.findall(r"\btest_[a-z0-9_]+\b", text))
    files = {path.stem: path.read_text() for path in (ROOT / "tests" / "contract").glob("test_*.py")}
    tests = {name for source in files.values() for name in re.findall(r"def (test_\w+)", source)}
    elsewhere = {path.stem for path in (ROOT / "tests" / "integration").glob("test_scripts_*.py")}
    elsewhere |= {path.stem for path in (ROOT / "tests" / "hostile").glob("test_*.py")}

    assert named <= tests | set(files) | elsewhere, "the contract names tests that are not there"
    assert files.keys() <= named
    # What is more about the programming interface than about delivery has no sentence there.
    assert len(tests - named) < 10, sorted(tests - named)


def test_every_line_of_the_log_that_the_runbook_quotes_is_one_that_we_write() -> None:
    sources = (ROOT / "src" / "hippo_messenger").rglob("*.py")
    nodes = [node for source in sources for node in ast.walk(ast.parse(source.read_text()))]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    written = [re.sub(r"%[.\d]*[a-z]", "…", text) for text in texts]
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r'"([^"]+)"', row)]
    assert len(quotes) > 15
    for quote in quotes:
        assert any(quote.strip("… ") in text for text in written), quote


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `HIPPO_(\w+)` \| `(.*?)` \|", text, flags=re.MULTILINE))
    assert rows == {name.upper(): str(field.default) for name, field in Settings.model_fields.items()}


@pytest.mark.parametrize("name", ["register.mjs", "send.mjs", "worker.mjs"])
def test_the_wire_contract_shows_the_programs_that_the_tests_run(name: str) -> None:
    assert (ROOT / "examples" / "node" / name).read_text() in (ROOT / "docs" / "wire-contract.md").read_text()


def test_the_wire_contract_names_every_reserved_name_and_every_key_of_ours() -> None:
    text = (ROOT / "docs" / "wire-contract.md").read_text()
    reserved = re.findall(r"^- The broker's queue is .*; never (.*?)\.$", text, flags=re.MULTILINE)[0]
    kept = re.findall(r"^- Under the same prefix this package keeps (.*?)\. Nobody else", text, flags=re.MULTILINE)[0]
    keys = {key.removesuffix(":*") for key in re.findall(r"`([^`]+)`", kept)}
    assert set(re.findall(r"`([^`]+)`", reserved)) == RESERVED_NAMES
    assert keys == set(_keys_of_ours())
    assert {key.partition(":")[0] for key in keys} == RESERVED_NAMES - {BROKER_QUEUE}


def _keys_of_ours() -> Iterator[str]:
    """Every key beside the queues, without prefix; what a key is of stands in angle brackets."""
    layout = Layout("{hippo}")
    for name, member in vars(Layout).items():
        if name.startswith("_") or name in ("broker", "pattern", "prefix", "queue"):
            continue
        owners = [] if isinstance(member, property) else list(inspect.signature(member).parameters)[1:]
        found = getattr(layout, name)
        key: str = found(*(f"<{owner}>" for owner in owners)) if owners else found
        yield key.removeprefix("{hippo}:")


def test_the_readme_shows_the_first_event_that_a_test_runs() -> None:
    program = (ROOT / "examples" / "first_event.py").read_text()
    assert program in (ROOT / "README.md").read_text()
    assert len([line for line in program.splitlines() if line.strip()]) <= 20


def test_make_help_has_a_line_for_each_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[0].split()
    explained = re.findall(r"^([a-z-]+):.*## \S", text, flags=re.MULTILINE)
    assert sorted(explained) == sorted(targets)


def test_the_readme_says_what_each_extra_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = dict(re.findall(r"^\| (?:none|`(\w+)`) \| (.*?) \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted = {"": set(_names(project["dependencies"])), **{name: set(_names(needs)) for name, needs in extras.items()}}
    assert wanted.pop("all") == extras.keys() - {"all"}
    assert rows.pop("all") == "all of these"
    assert {name: set(re.findall(r"\w+", row)) - {"and"} for name, row in rows.items()} == wanted


def _names(requirements: list[str]) -> Iterator[str]:
    """The packages that are required; of our own, the extras."""
    for requirement in requirements:
        name, extras = re.findall(r"^([\w-]+)(?:\[(.*?)\])?", requirement)[0]
        yield from extras.split(",") if extras else [name]


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for document in DOCUMENTS:
        if document.is_relative_to(ROOT / "docs") and document.name != "index.md":
            assert str(document.relative_to(ROOT / "docs")) in index


def test_the_public_names_are_sorted_and_there() -> None:
    assert hippo_messenger.__all__ == sorted(hippo_messenger.__all__)
    for name in hippo_messenger.__all__:
        thing = getattr(hippo_messenger, name)
        assert thing.__doc__ or not isinstance(thing, type)  # the words of an alias stand below it
    assert set(errors.__all__) <= set(hippo_messenger.__all__)


def test_every_exception_is_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        assert errors.__doc__ is not None
        assert name == "FieldError" or name in errors.__doc__


def test_every_difference_from_bullmq_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "decisions" / "0005-differences-from-bullmq.md").read_text()
    differences = re.findall(r"^(\d+)\. (.*)$", text, flags=re.MULTILINE)
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [int(number) for number, _ in differences] == list(range(1, len(differences) + 1))
    for number, words in differences:
        named = re.findall(r"\btest_[a-z0-9_]+\b", words)
        assert named, f"difference {number} names no test"
        for name in named:
            assert f"def {name}(" in sources, f"difference {number} names {name}, which is not there"


def test_the_fields_of_one_class_have_words_of_their_own() -> None:
    """Guards against a reference page that gave every field of a class the words of its last one."""
    for section in (ROOT / "docs" / "reference" / "api.md").read_text().split("\n## "):
        said = re.findall(r"^- `\w+: [^`]+`: (.+)$", section.partition("\n### ")[0], re.MULTILINE)
        assert len(said) == len(set(said)), section.partition("\n")[0]
