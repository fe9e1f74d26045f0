"""The npm packages are those of the tests of the demo."""

from tests.haraka.conftest import npm_packages

__all__ = ["npm_packages"]
