"""The services of these tests have the tables of the page beside the project's own."""

from tests.schemas.conftest import device, environ

__all__ = ["device", "environ"]
