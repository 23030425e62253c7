"""Constraints: conditions that a trial's hyper-parameters must fulfil together, such as "units * layers <= 512".

    constraint = Constraint.parse("units * layers <= 512")
    constraint.holds({"units": 64, "layers": 3})          # True

An expression is evaluated from its syntax tree, never executed as Python: only the operations listed below are allowed.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from windrow.experiment.parameters import Value
from windrow.experiment.wording import shown

MAX_LENGTH = 500
MAX_DEPTH = 30
MAX_EXPONENT = 16
MAX_BITS = 1024  # larger numbers don't fit into a float

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, tuple[Callable[..., Any], range]] = {
    "min": (min, range(2, 9)),
    "max": (max, range(2, 9)),
    "abs": (abs, range(1, 2)),
    "log2": (math.log2, range(1, 2)),
}
"""Name → a function of numbers, and how many arguments it may get."""

LEGAL = (
    "hyper-parameters, numbers, text, + - * / // % **, comparisons, in (a, b), and, or, not, "
    f"{', '.join(_FUNCTIONS)} and brackets"
)


class _WrongTypeError(Exception):
    """An operand has the wrong type: a number where true or false is needed, say, or text where a number is."""


@dataclass(frozen=True)
class Constraint:
    """An expression over hyper-parameters that is true or false for a trial.

    Constraints with the same text are equal. `names` are the hyper-parameters in the expression.
    """

    text: str
    names: frozenset[str] = field(compare=False)
    _tree: ast.expr = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Return the constraint that a text states.

        Raises:
            ValueError: the text is too long or too deep, is not an expression, or uses what `LEGAL` does not list.
        """
        if len(text) > MAX_LENGTH:
            raise ValueError(f"must have at most {MAX_LENGTH} characters; got {len(text):,}; split it into two")
        try:
            with warnings.catch_warnings():  # Python warns of odd escapes in strings
                warnings.simplefilter("ignore")
                tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise ValueError(f'must be an expression such as "units * layers <= 512"; got {shown(text)}') from None
        names = frozenset(_names(tree, text, MAX_DEPTH))
        return cls(text, names, tree)

    def holds(self, parameters: Mapping[str, Value]) -> bool:
        """Return whether the constraint is true; False if it can't be evaluated, as in a division by zero."""
        try:
            return _truth(self._tree, parameters)
        except (_WrongTypeError, ArithmeticError, ValueError, KeyError):
            return False

    def is_sound(self, parameters: Mapping[str, Value]) -> bool:
        """Return whether all hyper-parameters have values, operands the right types, and the result is true or false.

        A constraint that only fails for some numbers, as in a division by zero, is sound.
        """
        try:
            _truth(self._tree, parameters)
        except (_WrongTypeError, KeyError):
            return False
        except (ArithmeticError, ValueError):
            return True
        return True

    def __str__(self) -> str:
        return self.text


def _names(node: ast.expr, text: str, depth: int) -> Iterator[str]:
    """Yield the hyper-parameters of an expression.

    Raises:
        ValueError: the expression has too many levels, or uses something that `LEGAL` does not list.
    """
    if depth == 0:
        raise ValueError(f"must have at most {MAX_DEPTH} levels; got {shown(text)}; split it into two")
    if isinstance(node, ast.Name):
        yield node.id
    elif problem := _problem(node):
        written = ast.get_source_segment(text.strip(), node)
        raise ValueError(f"{problem}; got {shown(written or text)}; it may have {LEGAL}")
    else:
        for inner in _operands(node):
            yield from _names(inner, text, depth - 1)


def _operands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        return node.args
    return [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.expr)]


def _problem(node: ast.expr) -> str | None:
    """Return why a node of the syntax tree is not legal, or None. The node's operands are checked separately."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()) | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return None
        case ast.UnaryOp(op=sign) if type(sign) in _SIGNS:
            return None
        case ast.BinOp(op=ast.Pow(), right=exponent):
            small = isinstance(exponent, ast.Constant) and exponent.value in range(MAX_EXPONENT + 1)
            return None if small or isinstance(exponent, ast.Name) else f"must have exponents of at most {MAX_EXPONENT}"
        case ast.BinOp(op=sign) if type(sign) in _ARITHMETIC:
            return None
        case ast.Compare(ops=signs, comparators=rights):
            return next((problem for pair in zip(signs, rights, strict=True) if (problem := _comparison(*pair))), None)
        case ast.Tuple():
            return None
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return None if len(arguments) in _FUNCTIONS[name][1] else f"must give {name} as many numbers as it takes"
    return "must be an expression over hyper-parameters"


def _comparison(sign: ast.cmpop, right: ast.expr) -> str | None:
    if isinstance(sign, (ast.Is, ast.IsNot)):
        return "must compare with == or !="
    if isinstance(sign, (ast.In, ast.NotIn)) and not isinstance(right, ast.Tuple):
        return "must list values in brackets after in, such as in (16, 32)"
    return None


def _value(node: ast.expr, parameters: Mapping[str, Value]) -> Any:
    """Return the value of an expression for the given hyper-parameters.

    Raises:
        _WrongTypeError: an operand has the wrong type.
        KeyError: a hyper-parameter has no value.
        ArithmeticError, ValueError: the numbers allow no result.
    """
    match node:
        case ast.Name(id=name):
            return parameters[name]
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _truth(inner, parameters)
        case ast.UnaryOp(op=sign, operand=inner):
            return _SIGNS[type(sign)](_number(inner, parameters))
        case ast.BinOp(left=left, op=sign, right=right):
            return _arithmetic(type(sign), _number(left, parameters), _number(right, parameters))
        case ast.BoolOp(op=sign, values=values):
            truths = (_truth(inner, parameters) for inner in values)
            return all(truths) if isinstance(sign, ast.And) else any(truths)
        case ast.Compare():
            return _compare(node, parameters)
        case ast.Tuple(elts=items):
            return tuple(_value(inner, parameters) for inner in items)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name][0](*(_number(inner, parameters) for inner in arguments))
    raise _WrongTypeError


def _truth(node: ast.expr, parameters: Mapping[str, Value]) -> bool:
    value = _value(node, parameters)
    if not isinstance(value, bool):
        raise _WrongTypeError
    return value


def _number(node: ast.expr, parameters: Mapping[str, Value]) -> int | float:
    value = _value(node, parameters)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _WrongTypeError
    return value


def _arithmetic(sign: type[ast.operator], left: float, right: float) -> Any:
    whole = isinstance(left, int) and isinstance(right, int)
    # Python's integers are unbounded: 9 ** 9 ** 9 would use up all memory before it failed.
    if sign is ast.Pow and whole and int(left).bit_length() * right > MAX_BITS:
        raise OverflowError
    value = _ARITHMETIC[sign](left, right)
    if isinstance(value, complex):
        raise ValueError("the root of a negative number")  # noqa: TRY004  as math.sqrt says it
    return value


def _compare(node: ast.Compare, parameters: Mapping[str, Value]) -> bool:
    left = _value(node.left, parameters)
    for sign, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, parameters)
        if not _true(type(sign), left, right):
            return False
        left = right
    return True


def _true(sign: type[ast.cmpop], left: Any, right: Any) -> bool:
    if sign in _ORDERS:
        if any(isinstance(side, bool) or not isinstance(side, (int, float)) for side in (left, right)):
            raise _WrongTypeError
        return _ORDERS[sign](left, right)
    if sign in {ast.In, ast.NotIn}:
        return any(same(left, each) for each in right) == (sign is ast.In)
    return same(left, right) == (sign is ast.Eq)


def same(left: object, right: object) -> bool:
    """Return whether two values on a page are equal: 1 equals 1.0, but not true."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)
