"""The README says what is true."""

import re

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_snippet_of_the_readme_is_the_one_that_the_tests_run() -> None:
    def body(text: str) -> str:
        return re.search(r"async function mySync.*?\n}\n", text, re.DOTALL)[0]

    assert body(README) == body((ROOT / "tests/watermelon/snippet.js").read_text())


def test_every_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z][a-z-]*)", README)) <= targets


def test_every_path_it_links_exists() -> None:
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / path).exists(), path
