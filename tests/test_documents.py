"""What the tree says of its documents is true: the files, sections and invariants that it names exist."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from services.openapi import describe
from tests.conftest import ROOT

#: Made, installed or fetched, and so not ours to keep right.
NOT_OURS = {".git", ".local", "node_modules", "bundle.js", "package-lock.json"}
NAME = r"[\w./-]*\w\.md"
URL = re.compile(r"\w+://\S+")
#: A citation may be broken over two lines of a comment or docstring.
LINE_BREAK = re.compile(r"\s*\n\s*(?:#:?|//|\*|--)?\s*")
LINK = re.compile(rf"\]\(({NAME})#([\w-]+)\)")
SECTION = re.compile(rf'({NAME})[`)]*, ("[^"]+"(?:(?:,| and|, and) "[^"]+")*)')
INVARIANT = re.compile(rf"({NAME})[`)]*, invariants? (\d+(?:(?:,| and) \d+)*)")


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the tree, each line break and address in it made a blank."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and "cache" not in name]
        for name in {*names} - NOT_OURS:
            path = Path(folder, name)
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            yield path.relative_to(ROOT), URL.sub(" ", LINE_BREAK.sub(" ", text))


def document(name: str, path: Path) -> Path | None:
    """The document that `path` means by `name`: seen from the root, from beside it, or one of docs/."""
    for folder in (ROOT, ROOT / path.parent, ROOT / "docs"):
        if (folder / name).is_file():
            return folder / name
    return None


@cache
def headings(path: Path) -> set[str]:
    """The titles of a document's sections."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return set(re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE))


@cache
def anchors(path: Path) -> set[str]:
    """The same, as the links to them are written."""
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings(path)}


@cache
def invariants(path: Path) -> set[str]:
    """The numbers of the list in the section "Invariants"."""
    _, _, section = path.read_text().partition("\n## Invariants\n")
    return set(re.findall(r"^(\d+)\. ", section.partition("\n## ")[0], re.MULTILINE))


def faults(path: Path, text: str) -> Iterator[str]:
    """What `text`, which stands in `path`, says of documents and is not so."""
    for name in re.findall(NAME, text):
        if document(name, path) is None:
            yield f"{path}: there is no {name}"
    for name, anchor in LINK.findall(text):
        target = document(name, path)
        if target and anchor not in anchors(target):
            yield f"{path}: {name} has no anchor #{anchor}"
    for name, cited in SECTION.findall(text):
        target = document(name, path)
        for title in re.findall('"([^"]+)"', cited):
            if target and title not in headings(target):
                yield f"{path}: {name} has no section {title!r}"
    for name, cited in INVARIANT.findall(text):
        target = document(name, path)
        for number in re.findall(r"\d+", cited):
            if target and number not in invariants(target):
                yield f"{path}: {name} has no invariant {number}"


def test_every_document_section_and_invariant_that_is_named_exists() -> None:
    found = [fault for path, text in texts() for fault in faults(path, text)]
    assert not found, "\n".join(found)


def test_every_link_within_a_document_leads_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for anchor in re.findall(r"\]\(#([\w-]+)\)", path.read_text()):
            assert anchor in anchors(path), f"{path.name}: #{anchor}"


def test_the_api_document_has_every_call_and_no_other() -> None:
    there = {
        f"{method.upper()} {re.sub('{.*?}', '{id}', path)}"
        for path, operations in describe()["paths"].items()
        for method in operations
    }
    told = re.findall(r"`([A-Z]+ /v1/[^`?]*)`", (ROOT / "docs/api.md").read_text())
    assert {re.sub("{.*?}", "{id}", call) for call in told} == there


def test_the_api_document_has_every_code() -> None:
    text = (ROOT / "docs/api.md").read_text()
    for path, operations in describe()["paths"].items():
        for operation in operations.values():
            for response in operation["responses"].values():
                problem = response.get("content", {}).get("application/problem+json")
                if problem is None:
                    continue
                for code in problem["schema"]["allOf"][1]["properties"]["code"]["enum"]:
                    assert f"`{code}`" in text, f"{path}: {code}"


def test_troubleshooting_has_every_code_and_what_the_client_says() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text()
    core = (ROOT / "client/src/backend.ts").read_text()
    codes = {
        code
        for operations in describe()["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        if (problem := response.get("content", {}).get("application/problem+json"))
        for code in problem["schema"]["allOf"][1]["properties"]["code"]["enum"]
    } | set(re.findall(r"code(?:: | = )'(\w+)'", core))
    assert {code for code in codes if f"`{code}`" not in text} == set()
    said = re.findall(r"detail(?:: | = )['`](?:\$\{url\} )?([^'`$]{15})", core)
    assert len(said) == 5
    assert [words for words in said if words not in text] == []


def test_every_setting_that_a_document_names_is_one_of_the_tree() -> None:
    told = {
        (path, name)
        for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]
        for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)\b", path.read_text())
    }
    tree = " ".join(text for path, text in texts() if path.suffix != ".md")
    missing = [f"{path.name}: {name}" for path, name in told if not re.search(rf"\b{name}\b", tree)]
    assert not missing


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Told in docs/apis.MD.", "there is no docs/apis.MD"),
        ('(docs/api.MD, "Shove")', "docs/api.MD has no section 'Shove'"),
        ('(docs/api.MD, "Push" and "Shove")', "docs/api.MD has no section 'Shove'"),
        ('[the API](../docs/api.MD), "Shove"', "../docs/api.MD has no section 'Shove'"),
        ("[there](api.MD#shove)", "api.MD has no anchor #shove"),
        ("(docs/design.MD, invariants 1 and 77)", "docs/design.MD has no invariant 77"),
    ],
)
def test_a_wrong_citation_is_noticed(text: str, fault: str) -> None:
    # In capitals above, or these examples would be faults of this file.
    text, fault = text.replace(".MD", ".md"), fault.replace(".MD", ".md")
    path = Path("docs/some.txt")
    assert list(faults(path, text)) == [f"{path}: {fault}"]
