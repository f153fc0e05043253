"""Fixtures of other tests that these take too."""

from tests.stack.conftest import watermelon_installed as watermelon_installed
