"""A story is a test that is given `story`; when it has been told, its cluster heals and every checker judges it."""

from __future__ import annotations

import pytest

from tests.sim.stories.counts import KEY
from tests.sim.stories.story import Story


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    return Story(request.node.name)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The end belongs to the test itself, so that a promise broken there is a failure of this story."""
    told = pyfuncitem.funcargs.get("story")
    if not isinstance(told, Story):
        return None
    broken = told.tell(pyfuncitem.obj)
    for count in told.fork.counts:
        pyfuncitem.user_properties.append((KEY, f"{pyfuncitem.name}: {count}"))
    if broken is not None:
        pytest.fail(f"at {broken.at:.3f} s: {broken}", pytrace=False)
    return True
