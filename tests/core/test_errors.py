from __future__ import annotations

import inspect

import pytest

from rlbuffers import errors

LEAVES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", LEAVES)
def test_every_error_is_one_of_ours_and_in_the_drawing(error):
    assert issubclass(error, errors.RlbuffersError)
    assert error.__name__ in inspect.getdoc(errors)


def test_every_error_is_public():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.BufferNotFoundError, FileNotFoundError),
        (errors.BufferExistsError, FileExistsError),
        (errors.CorruptDataError, ValueError),
        (errors.SpecError, ValueError),
        (errors.OutOfRangeError, IndexError),
        (errors.DownloadError, OSError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_callers_may_catch_what_python_would_raise(error, builtin):
    assert issubclass(error, builtin)
    assert str(error("a: b")) == "a: b"
