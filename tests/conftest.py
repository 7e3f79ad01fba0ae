"""Fixtures: every test that takes `engine` runs in NumPy, and in Julia where there is one."""

import pytest

from ssnn_py.engine import boot

JULIA, WHY_NOT = boot.available()
needs_julia = pytest.mark.skipif(not JULIA, reason=f"no Julia: {WHY_NOT}")


@pytest.fixture(params=["reference", pytest.param("julia", marks=needs_julia)])
def engine(request):
    return request.param


@pytest.fixture
def julia():
    if not JULIA:
        pytest.skip(f"no Julia: {WHY_NOT}")
    return boot.runtime()
