"""The README says what is true."""

import re

from shared import __version__
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_snippet_of_the_readme_is_the_one_that_the_tests_run() -> None:
    def body(text: str) -> str:
        return re.search(r"async function mySync.*?\n}\n", text, re.DOTALL)[0]

    assert body(README) == body((ROOT / "tests/watermelon/snippet.js").read_text())


def test_every_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        code = " ".join(re.findall(r"```.*?```|`[^`]+`", document.read_text(), re.DOTALL))
        named = set(re.findall(r"make ([a-z][a-z-]*)", code))
        assert named <= targets, document.name


def test_every_path_that_a_document_links_exists() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for document in documents:
        for path in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / path).exists(), f"{document.name}: {path}"


def test_the_changelog_tells_of_the_release_that_the_code_is() -> None:
    released = re.findall(
        r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert released[0] == __version__


def test_the_table_of_the_readme_is_the_one_that_the_tests_add() -> None:
    assert (ROOT / "tests/own_table/comment.txt").read_text().strip() in README


def test_every_test_that_the_documents_name_exists() -> None:
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))
    for document in ROOT.glob("docs/*.md"):
        text = document.read_text()
        for name in re.findall(r"`(test_[a-z_]+)`", text):
            assert f"def {name}(" in tests, f"{document.name}: {name}"
        for path in re.findall(r"`(tests/[a-z_/]+(?:\.py)?)`", text):
            assert (ROOT / path).exists(), path
