"""A story is a test that is given `story`; when it has been told, its cluster heals and every checker judges it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.sim.stories.language import Story


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    return Story(request.node.name)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """The end belongs to the test itself, so that a promise broken there is a failure of this story."""
    result = yield
    told = pyfuncitem.funcargs.get("story")
    if isinstance(told, Story):
        told.over()
    return result
