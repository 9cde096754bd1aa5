"""Conditions on episodes or rows, such as ``return > 3000 and mean(abs(actions)) < 0.5``.

The text is parsed by Python's `ast` and never executed: only the nodes below are understood, and computed with
numpy. An episode has one value of some names (``return``, ``length``) and one value a step of the columns;
functions such as ``mean`` make one value of the latter. Numbers are widened before computing: whole ones to int64,
others to float64.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.listing import listed, shortened

__all__ = ["REDUCTIONS", "Expression"]

Array = np.ndarray[Any, Any]
# A letter that no column name begins with: it marks what stands for a name that Python could not parse.
_MARK = "\ua4f9"
_MAX_LENGTH = 10_000
_MAX_DIGITS = 4_000  # Python reads a few more
_MAX_SHOWN = 400  # characters of it, and of a problem, in a message
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Mod: np.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_ELEMENTWISE: dict[str, Callable[[Any], Any]] = {"abs": np.abs, "isfinite": np.isfinite}
REDUCTIONS = ("all", "any", "first", "last", "max", "mean", "min", "std", "sum")


@dataclass(frozen=True)
class _Value:
    """An array with one entry an episode or row, or one a step."""

    array: Array
    per_step: bool = False


class Expression:
    """A parsed condition.

    Parameters
    ----------
    text : str
        The condition. Names with ``/`` stand as they are (``infos/speed``); any other name between backquotes.
    per_unit : mapping of name to array
        Names with one value an episode (or row), and such a value: its dtype and shape matter.
    per_step : mapping of name to array, optional
        Names with one value a step.

    Raises
    ------
    UsageError
        If the text cannot be understood; says at which character, and what is known.
    """

    def __init__(
        self,
        text: str,
        per_unit: Mapping[str, Array],
        per_step: Mapping[str, Array] | None = None,
    ) -> None:
        self.text = text
        self._per_unit = dict(per_unit)
        self._per_step = dict(per_step or {})
        self._marked: dict[str, str] = {}
        if len(text) > _MAX_LENGTH:
            raise UsageError(f"a condition of {len(text):,} characters is too long; {_MAX_LENGTH:,} are allowed")
        self._source = self._with_marks(text.replace("\n", " "))
        try:
            self._tree = ast.parse(self._source.lstrip(), mode="eval").body
        except SyntaxError as error:
            leading = len(self._source) - len(self._source.lstrip())
            self._fail_at(leading + error.offset if error.offset else len(self._source) + 1, error.msg)
        except (ValueError, RecursionError, MemoryError) as error:
            digits = max(map(len, re.findall(r"\d+", text)), default=0)
            why = f"a number has {digits:,} digits" if digits > _MAX_DIGITS else str(error)
            raise UsageError(f"{self._shown}: cannot be parsed ({why})") from error
        self.names = {self._name(node) for node in ast.walk(self._tree) if self._is_name(node)}
        self._lengths = np.ones(1, np.int64)
        # Once with one made-up episode of two steps: what is wrong is said before anything is read.
        sample = {name: np.stack([value]) for name, value in self._per_unit.items()}
        steps = {name: np.stack([value, value]) for name, value in self._per_step.items()}
        self.evaluate({**sample, **steps}, np.array([1 if per_step is None else 2]))

    @property
    def _shown(self) -> str:
        return shortened(repr(self.text), _MAX_SHOWN)

    def _with_marks(self, text: str) -> str:
        """Replace names that are no identifiers by identifiers of the same length."""
        # A known name that is one of Python's words; `return` also where it is not known, to say so.
        known = sorted({"return", *self._per_unit, *self._per_step}, key=len, reverse=True)
        awkward = [name for name in known if not name.isidentifier() or keyword.iskeyword(name)]
        plain = "|".join(rf"(?<![\w/`]){re.escape(name)}(?![\w/`])" for name in awkward) or r"(?!)"

        def marked(found: re.Match[str]) -> str:
            name = found.group().strip("`")
            mark = f"{_MARK}{len(self._marked)}".ljust(len(found.group()), "_")
            self._marked[mark] = name
            return mark

        return re.sub(rf"`[^`]+`|{plain}", marked, text)

    def _is_name(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id not in (*_ELEMENTWISE, *REDUCTIONS)

    def _name(self, node: Any) -> str:
        return self._marked.get(str(node.id), str(node.id))

    def _fail(self, node: ast.AST, problem: str) -> NoReturn:
        self._fail_at(self._place(getattr(node, "col_offset", 0)) + 1, problem)

    def _place(self, num_bytes: int) -> int:
        """Turn the parser's offset, in bytes of what it was given, into one in characters of the text."""
        stripped = self._source.lstrip()
        return len(self._source) - len(stripped) + len(stripped.encode()[:num_bytes].decode())

    def _text_of(self, node: ast.expr) -> str:
        return self.text[self._place(node.col_offset) : self._place(node.end_col_offset or 0)]

    def _fail_at(self, character: int, problem: str) -> NoReturn:
        raise UsageError(f"{self._shown}, character {character}: {shortened(problem, _MAX_SHOWN)}")

    def evaluate(self, values: Mapping[str, Array], lengths: Array) -> Array:
        """Compute the condition.

        Parameters
        ----------
        values : mapping of name to array
            Of every name in `names`: E rows, or of names with one value a step, N rows.
        lengths : int64, shape (E,)
            Steps of each episode; all 1 where rows are independent.

        Returns
        -------
        bool, shape (E,)
        """
        self._lengths = np.asarray(lengths, np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._values = values
        try:
            with np.errstate(all="ignore"):
                result = self._compute(self._tree)
        except RecursionError:
            raise UsageError(f"{self._shown}: is nested too deeply") from None
        finally:
            self._values = {}
        if result.per_step:
            self._fail(self._tree, f"gives one value a step; say which by {', '.join(REDUCTIONS)}")
        if result.array.dtype != np.bool_:
            self._fail(self._tree, "is no condition; compare it with something, e.g. by > or ==")
        if result.array.ndim > 1:
            self._fail(self._tree, f"gives {result.array.shape[1:]} values instead of one; use any(...) or all(...)")
        return np.broadcast_to(result.array, len(self._lengths)).copy()

    def _compute(self, node: ast.expr) -> _Value:
        method = getattr(self, f"_compute_{type(node).__name__.lower()}", None)
        if method is None:
            self._fail(
                node, f"{self._text_of(node)!r} is not allowed here; use names, numbers, comparisons and functions"
            )
        computed: _Value = method(node)
        return computed

    def _compute_constant(self, node: ast.Constant) -> _Value:
        if not isinstance(node.value, bool | int | float) or abs(node.value) > 1e308:
            what = "a number of more than 308 digits" if isinstance(node.value, int) else f"{node.value!r} is no number"
            self._fail(node, f"{what}; text and other constants are not allowed")
        whole = isinstance(node.value, int) and not isinstance(node.value, bool) and abs(node.value) < 1 << 62
        return _Value(np.array([node.value if whole or isinstance(node.value, bool) else float(node.value)]))

    def _compute_name(self, node: ast.Name) -> _Value:
        name = self._name(node)
        if name not in self._per_unit and name not in self._per_step:
            known = sorted({*self._per_unit, *self._per_step})
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            self._fail(node, f"there is no {name!r}; {hint}Known are {listed(known)}")
        return _Value(self._values[name], name in self._per_step)

    def _compute_boolop(self, node: ast.BoolOp) -> _Value:
        word, combine = ("and", np.logical_and) if isinstance(node.op, ast.And) else ("or", np.logical_or)
        result = self._condition(node.values[0], word)
        for operand in node.values[1:]:
            left, right = self._aligned(result, self._condition(operand, word), operand)
            result = _Value(combine(left.array, right.array), left.per_step)
        return result

    def _condition(self, node: ast.expr, word: str) -> _Value:
        value = self._compute(node)
        if value.array.dtype != np.bool_:
            self._fail(node, f"{word!r} joins conditions; compare this with something, e.g. by > or ==")
        return value

    def _compute_unaryop(self, node: ast.UnaryOp) -> _Value:
        if isinstance(node.op, ast.Not):
            value = self._condition(node.operand, "not")
            return _Value(~value.array, value.per_step)
        value = self._compute(node.operand)
        if isinstance(node.op, ast.Invert):
            self._fail(node, "'~' is not allowed; use 'not'")
        number = _number(value.array)
        return _Value(-number if isinstance(node.op, ast.USub) else number, value.per_step)

    def _compute_binop(self, node: ast.BinOp) -> _Value:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            hint = "; use 'and' and 'or'" if isinstance(node.op, ast.BitAnd | ast.BitOr) else ""
            self._fail(node, f"only + - * / % are known{hint}")
        left, right = self._aligned(self._compute(node.left), self._compute(node.right), node)
        return _Value(operation(_number(left.array), _number(right.array)), left.per_step)

    def _compute_compare(self, node: ast.Compare) -> _Value:
        result: _Value | None = None
        left = node.left
        for comparison, right in zip(node.ops, node.comparators, strict=True):
            found = self._compared(left, comparison, right)
            if result is not None:
                first, second = self._aligned(result, found, right)
                found = _Value(np.logical_and(first.array, second.array), first.per_step)
            result, left = found, right
        if result is None:
            raise UsageError(f"{self._shown}: a comparison of nothing")
        return result

    def _compared(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> _Value:
        if isinstance(comparison, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                self._fail(right, "expected a list of numbers after 'in', such as (0, 3)")
            value = self._compute(left)
            found = np.isin(value.array, [self._compute(item).array[0] for item in right.elts])
            return _Value(~found if isinstance(comparison, ast.NotIn) else found, value.per_step)
        operation = _COMPARISONS.get(type(comparison))
        if operation is None:
            self._fail(left, "only < <= > >= == != in are known")
        ours, theirs = self._aligned(self._compute(left), self._compute(right), left)
        return _Value(operation(ours.array, theirs.array), ours.per_step)

    def _compute_subscript(self, node: ast.Subscript) -> _Value:
        value = self._compute(node.value)
        places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        try:
            index: Any = (slice(None), *(int(ast.literal_eval(place)) for place in places))
            return _Value(value.array[index], value.per_step)
        except (ValueError, TypeError):
            self._fail(node.slice, "expected whole numbers between brackets, such as observations[0]")
        except IndexError:
            self._fail(node.slice, f"there is no such element; a row has shape {value.array.shape[1:]}")

    def _compute_call(self, node: ast.Call) -> _Value:
        name = node.func.id if isinstance(node.func, ast.Name) else self._text_of(node.func)
        if name not in (*_ELEMENTWISE, *REDUCTIONS):
            self._fail(
                node, f"there is no function {name!r}; known are {', '.join([*sorted(_ELEMENTWISE), *REDUCTIONS])}"
            )
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            self._fail(node, f"{name} takes one value")
        value = self._compute(node.args[0])
        if name in _ELEMENTWISE:
            return _Value(_ELEMENTWISE[name](_number(value.array)), value.per_step)
        if not value.per_step and value.array.ndim == 1:
            self._fail(node, f"{name}: {self._text_of(node.args[0])!r} has one value already")
        if name in ("first", "last"):
            if not value.per_step:
                self._fail(node, f"{name} is for columns with one value a step")
            return _Value(value.array[self._starts if name == "first" else self._starts + self._lengths - 1])
        if name in ("any", "all") and value.array.dtype != np.bool_:
            self._fail(node, f"{name} is for conditions, such as {name}(rewards > 0)")
        return self._reduced(name, value)

    def _reduced(self, name: str, value: _Value) -> _Value:
        """Make one value of all elements of all steps of an episode, or of all elements of a row."""
        rows = value.array.reshape(len(value.array), -1)
        starts = self._starts if value.per_step else np.arange(len(rows))
        if name in ("any", "all"):
            combine: Any = np.logical_or if name == "any" else np.logical_and
            return _Value(combine.reduceat(combine.reduce(rows.astype(np.bool_), axis=1), starts))
        if name in ("min", "max"):
            combine = np.minimum if name == "min" else np.maximum
            return _Value(combine.reduceat(combine.reduce(rows, axis=1), starts))
        totals = np.add.reduceat(rows.astype(np.float64).sum(axis=1), starts)
        if name == "sum":
            return _Value(totals)
        counts = (self._lengths if value.per_step else np.ones(len(rows))) * rows.shape[1]
        means = totals / counts
        if name == "mean":
            return _Value(means)
        spread = means.repeat(self._lengths) if value.per_step else means
        squares = ((rows - spread[:, None]) ** 2).sum(axis=1)
        return _Value(np.sqrt(np.add.reduceat(squares, starts) / counts))

    def _aligned(self, left: _Value, right: _Value, node: ast.AST) -> tuple[_Value, _Value]:
        """Give both operands as many rows and axes; an episode's value is repeated for each of its steps."""
        per_step = left.per_step or right.per_step
        arrays = []
        for value in (left, right):
            array = value.array
            if per_step and not value.per_step and len(array) == len(self._lengths):
                array = array.repeat(self._lengths, axis=0)
            arrays.append(array)
        depth = max(array.ndim for array in arrays)
        arrays = [array.reshape(array.shape + (1,) * (depth - array.ndim)) for array in arrays]
        try:
            np.broadcast_shapes(arrays[0].shape, arrays[1].shape)
        except ValueError:
            self._fail(node, f"values of shapes {arrays[0].shape[1:]} and {arrays[1].shape[1:]} do not go together")
        return _Value(arrays[0], per_step), _Value(arrays[1], per_step)


def _number(array: Array) -> Array:
    """Widen numbers before anything is computed of them, so that no byte overflows; flags become 0 and 1."""
    if array.dtype.kind == "f":
        return array.astype(np.float64, copy=False)
    return array if array.dtype == np.uint64 else array.astype(np.int64, copy=False)
