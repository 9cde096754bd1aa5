"""Conditions against loops over the episodes, and what is said of those that cannot be understood."""

from __future__ import annotations

import numpy as np
import pytest

from rlbuffers.editing.expressions import Expression
from rlbuffers.errors import UsageError

LENGTHS = np.array([3, 1, 4, 2])
RNG = np.random.default_rng(0)
PER_EPISODE = {
    "return": np.array([1.5, -2.0, 7.0, 7.0]),
    "length": LENGTHS,
    "whole": np.array([True, False, True, True]),
    "goals": RNG.normal(size=(4, 2)).astype(np.float32),
    "odd name": np.array([1, 2, 3, 4]),
}
PER_STEP = {
    "rewards": RNG.normal(size=10).astype(np.float32),
    "actions": RNG.normal(size=(10, 3)).astype(np.float32),
    "bytes": np.arange(250, 260).astype(np.uint8),
    "terminals": np.array([0, 0, 1, 1, 0, 0, 0, 0, 0, 1], bool),
    "infos/x": RNG.integers(0, 3, 10),
    "infos": RNG.integers(0, 3, 10),
    "images": RNG.integers(0, 256, (10, 2, 2, 2), dtype=np.uint8),
}
VALUES = {**PER_EPISODE, **PER_STEP}


def sample(values):
    return {name: array[0] for name, array in values.items()}


def evaluate(text):
    return Expression(text, sample(PER_EPISODE), sample(PER_STEP)).evaluate(VALUES, LENGTHS)


def steps(name, number):
    start = int(LENGTHS[:number].sum())
    return PER_STEP[name][start : start + int(LENGTHS[number])].astype(np.float64)


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("return > 3", lambda e: PER_EPISODE["return"][e] > 3),
        ("  return>3 ", lambda e: PER_EPISODE["return"][e] > 3),
        ("3 < return <= 7 and length >= 3", lambda e: 3 < PER_EPISODE["return"][e] <= 7 and LENGTHS[e] >= 3),
        ("not whole or length == 4", lambda e: not PER_EPISODE["whole"][e] or LENGTHS[e] == 4),
        ("whole", lambda e: PER_EPISODE["whole"][e]),
        ("True", lambda e: True),
        ("length in (1, 4)", lambda e: LENGTHS[e] in (1, 4)),
        ("length not in [1, 4]", lambda e: LENGTHS[e] not in (1, 4)),
        ("return / length > 1", lambda e: PER_EPISODE["return"][e] / LENGTHS[e] > 1),
        ("length % 2 == 1 and -return < 0", lambda e: LENGTHS[e] % 2 == 1 and PER_EPISODE["return"][e] > 0),
        ("2 * length - 1 > 4 + 0.5", lambda e: 2 * LENGTHS[e] - 1 > 4.5),
        ("goals[0] > goals[-1]", lambda e: PER_EPISODE["goals"][e][0] > PER_EPISODE["goals"][e][-1]),
        ("max(goals) > 0.3", lambda e: PER_EPISODE["goals"][e].max() > 0.3),
        ("`odd name` > 2", lambda e: e + 1 > 2),
        ("mean(rewards) > 0", lambda e: steps("rewards", e).mean() > 0),
        ("sum(rewards) > 0", lambda e: steps("rewards", e).sum() > 0),
        ("std(rewards) > 0.5", lambda e: steps("rewards", e).std() > 0.5),
        ("std(actions) > 0.9", lambda e: steps("actions", e).std() > 0.9),
        ("min(rewards) < -0.5", lambda e: steps("rewards", e).min() < -0.5),
        ("max(rewards) > 1", lambda e: steps("rewards", e).max() > 1),
        ("any(rewards > 1)", lambda e: (steps("rewards", e) > 1).any()),
        ("all(abs(actions) < 1.5)", lambda e: (abs(steps("actions", e)) < 1.5).all()),
        ("mean(actions[1]) > 0", lambda e: steps("actions", e)[:, 1].mean() > 0),
        ("mean(actions) > 0", lambda e: steps("actions", e).mean() > 0),
        ("last(actions)[2] > first(actions)[2]", lambda e: steps("actions", e)[-1, 2] > steps("actions", e)[0, 2]),
        ("any(terminals)", lambda e: steps("terminals", e).any()),
        ("last(terminals)", lambda e: bool(steps("terminals", e)[-1])),
        ("sum(terminals) == 1", lambda e: steps("terminals", e).sum() == 1),
        ("sum(terminals and rewards > 0) > 0", lambda e: (steps("terminals", e) * (steps("rewards", e) > 0)).any()),
        ("any(infos/x == 2)", lambda e: (steps("infos/x", e) == 2).any()),
        ("any(infos / 2 == 1)", lambda e: (steps("infos", e) / 2 == 1).any()),
        ("max(bytes - 255) > 0", lambda e: (steps("bytes", e) - 255).max() > 0),
        ("max(bytes * 2) > 510", lambda e: (steps("bytes", e) * 2).max() > 510),
        ("mean(images[1, 0, 1]) > 128", lambda e: steps("images", e)[:, 1, 0, 1].mean() > 128),
        ("any(rewards > return / 5)", lambda e: (steps("rewards", e) > PER_EPISODE["return"][e] / 5).any()),
        ("any(actions > rewards)", lambda e: (steps("actions", e) > steps("rewards", e)[:, None]).any()),
        ("any(actions > goals[0])", lambda e: (steps("actions", e) > PER_EPISODE["goals"][e][0]).any()),
        ("all(rewards in (1, 2))", lambda e: False),
        ("all(isfinite(rewards))", lambda e: True),
        ("length / 0 > 1", lambda e: True),
    ],
)  # fmt: skip
def test_a_condition_is_what_a_loop_finds(text, loop):
    found = evaluate(text)
    assert found.dtype == np.bool_
    assert found.tolist() == [bool(loop(number)) for number in range(4)]


def test_rows_are_their_own_episodes():
    columns = {"actions": PER_STEP["actions"], "rewards": PER_STEP["rewards"], "infos/x": PER_STEP["infos/x"]}
    expression = Expression("max(abs(actions)) < 1 and infos/x > 0 or rewards > 1", sample(columns))
    assert expression.names == {"actions", "infos/x", "rewards"}
    found = expression.evaluate(columns, np.ones(10, np.int64))
    expected = [
        bool((abs(columns["actions"][row]).max() < 1 and columns["infos/x"][row] > 0) or columns["rewards"][row] > 1)
        for row in range(10)
    ]
    assert found.tolist() == expected
    with pytest.raises(UsageError, match=r"gives \(3,\) values instead of one; use any"):
        Expression("actions > 1", sample(columns))
    with pytest.raises(UsageError, match="'rewards' has one value already"):
        Expression("mean(rewards) > 1", sample(columns))


@pytest.mark.parametrize(
    ("text", "character", "message"),
    [
        ("rewads > 1", 1, "there is no 'rewads'; did you mean 'rewards'? Known are actions, bytes, goals"),
        ("return > 1 and lenght < 3", 16, "there is no 'lenght'; did you mean 'length'?"),
        ("rewards > 1", 1, "gives one value a step; say which by all, any, first, last"),
        ("length", 1, "is no condition"),
        ("return > 1 and length", 16, "'and' joins conditions"),
        ("not length", 5, "'not' joins conditions"),
        ("any(length > 2)", 1, "any: 'length > 2' has one value already"),
        ("mean(return) > 2", 1, "has one value already"),
        ("any(rewards)", 1, "any is for conditions"),
        ("first(goals)[0] > 2", 1, "first is for columns with one value a step"),
        ("return >", 9, "invalid syntax"),
        ("(return > 1", 1, "'(' was never closed"),
        ("return > 1 & length > 2", 10, "only + - * / % are known; use 'and' and 'or'"),
        ("length ** 2 > 1", 1, "only + - * / % are known"),
        ("~whole", 1, "use 'not'"),
        ("median(rewards) > 1", 1, "there is no function 'median'; known are abs, isfinite, all, any"),
        ("mean(rewards, 2) > 1", 1, "mean takes one value"),
        ("__import__('os').system('x')", 1, "there is no function \"__import__('os').system\""),
        ("any(return > 1)", 1, "any: 'return > 1' has one value already"),
        ("  infos/x.y > 1", 3, "'infos/x.y' is not allowed"),
        ("().__class__", 1, "is not allowed"),
        ("return.x > 1", 1, "is not allowed"),
        ("[x for x in length]", 1, "is not allowed"),
        ("(lambda: 1)() > 1", 1, "there is no function"),
        ("length == 'a'", 11, "'a' is no number"),
        ("length == None", 11, "None is no number"),
        ("length is 3", 1, "only < <= > >= == != in are known"),
        ("length in return", 11, "expected a list of numbers after 'in'"),
        ("actions[3] > 1", 9, "there is no such element; a row has shape (3,)"),
        ("actions[length] > 1", 9, "expected whole numbers between brackets"),
        ("goals > 1", 1, "gives (2,) values instead of one"),
        ("any(actions > goals)", 5, "values of shapes (3,) and (2,) do not go together"),
        ("", 1, "invalid syntax"),
        ("`é` > 1 and nothing > 1", 1, "there is no 'é'"),
        ("infos/x > 1 and whole and wrong", 27, "there is no 'wrong'"),
    ],
)
def test_what_cannot_be_understood_is_said_with_its_place(text, character, message):
    with pytest.raises(UsageError) as caught:
        evaluate(text)
    assert str(caught.value).startswith(f"{text!r}, character {character}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["not " * 5000 + "whole", "(" * 300 + "whole" + ")" * 300, "1" * 20_000, "-" * 3000 + "1 > 0"]
)
def test_hostile_texts_are_refused(text):
    with pytest.raises(UsageError):
        evaluate(text)
