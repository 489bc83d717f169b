"""A line of Python that calls layers, parsed as literals: nothing is looked up, nothing is run."""

from __future__ import annotations

import ast
import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from kernelviz.errors import UsageError
from kernelviz.wording import nearest_names, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST = 2000  # characters
MOST_LAYERS = 8  # of one line: padding, the layer, an activation
EXAMPLE = "such as Conv2D(32, 3) or nn.Conv2d(3, 32, 3)"
PREFIXES = {
    "": "", "nn": "torch", "torch.nn": "torch", "layers": "keras", "keras": "keras", "keras.layers": "keras",
    "tf.keras": "keras", "tf.keras.layers": "keras", "tensorflow.keras.layers": "keras",
}  # fmt: skip
"""What may be before the name of a layer, and the framework that it is from."""

_ASSIGNED = re.compile(r"\s*[\w.]+\s*=(?!=)")
_KINDS: dict[type[ast.AST], str] = {
    ast.JoinedStr: "an f-string", ast.Lambda: "a lambda", ast.NamedExpr: "an assignment", ast.Starred: "a * argument",
    ast.ListComp: "a comprehension", ast.SetComp: "a comprehension", ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension", ast.Dict: "a dict", ast.Set: "a set", ast.Subscript: "an element of a value",
    ast.IfExp: "a condition", ast.Compare: "a comparison", ast.BoolOp: "a condition", ast.Await: "a call",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A literal: as typed, where it starts and ends, and what it is, with the name of a keyword argument in front."""

    text: str
    start: int
    end: int
    value: object


@dataclass(frozen=True)
class WrittenLayer:
    """One call: the layer's name and prefix as typed, and its arguments, by position and by name."""

    name: str
    prefix: str
    text: str
    start: int
    end: int
    positional: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]


class Line:
    """The typed line, with errors that state a position in it.

    Raises:
        UsageError: it is longer than ``LONGEST``, empty, or contains characters that no line of Python has.
    """

    def __init__(self, text: object) -> None:
        if not isinstance(text, str):
            raise UsageError(f"A call must be text, but got {type(text).__name__}.", hint=f"Give a line {EXAMPLE}")
        if len(text) > LONGEST:
            raise UsageError(f"A call has at most {LONGEST:,} characters, but got {len(text):,}.")
        self.text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not self.text.strip():
            raise UsageError(f"The call is empty; write a layer {EXAMPLE}.")
        for at, char in enumerate(self.text):
            if (ord(char) < 32 and char not in "\t\n\f") or 0xD800 <= ord(char) <= 0xDFFF or ord(char) == 127:
                self.reject(at, f"the character U+{ord(char):04X} is not text.")

    def reject(self, start: int, message: str) -> NoReturn:
        """Raise the error of a position.

        Raises:
            UsageError: always.
        """
        before = self.text[:start]
        row, column = before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1
        where = f"Line {row}, column {column}" if "\n" in self.text.strip() else f"Column {column}"
        raise UsageError(f"{where}: {message}")

    def layers(self) -> list[WrittenLayer]:
        """The layers of the line in their order, without ``model.add(…)``, ``Sequential(…)`` or brackets around them.

        Raises:
            UsageError: it is not Python, or contains something else than calls with literals.
        """
        assigned = _ASSIGNED.match(self.text)
        if assigned:
            self.reject(0, f"write the layer alone, without `{shown(assigned[0].strip())}`.")
        found = [self._layer(node) for node in self._unwrapped(self._parsed())]
        if not found:
            self.reject(0, f"there is no layer; write one {EXAMPLE}.")
        if len(found) > MOST_LAYERS:
            self.reject(found[MOST_LAYERS].start, f"at most {MOST_LAYERS} layers are read, but got {len(found)}.")
        return found

    def _parsed(self) -> ast.expr:
        """The expression; brackets around the text permit line breaks in front of it and a comma behind it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(f"({self.text}\n)", mode="eval")
        except SyntaxError as error:
            row, column = error.lineno or 1, error.offset or 1
            lines = self.text.split("\n")
            if row > len(lines):
                more = "unmatched" in str(error.msg)
                what = "a bracket is closed once too often." if more else "a bracket or a quote is not closed."
                self.reject(len(self.text.rstrip()) - more, what)
            start = sum(len(line) + 1 for line in lines[: row - 1]) + column - 1 - (row == 1)
            reason = str(error.msg).splitlines()[0].rstrip(".")
            if "never closed" in reason or "f-string" in reason:
                reason = (
                    "a bracket or a quote is not closed" if "never closed" in reason else "an f-string is no literal"
                )
            self.reject(min(max(start, 0), len(self.text)), f"this is not Python ({shown(reason)}).")
        except (RecursionError, MemoryError, ValueError):
            self.reject(0, "this is nested too deeply to be read.")
        return tree.body

    def _start(self, node: ast.AST) -> int:
        return self._offset(getattr(node, "lineno", 1), getattr(node, "col_offset", 0))

    def _end(self, node: ast.AST) -> int:
        return self._offset(getattr(node, "end_lineno", 1), getattr(node, "end_col_offset", 0))

    def _offset(self, row: int, in_bytes: int) -> int:
        """An offset in the text; ``ast`` counts lines, and bytes within a line."""
        lines = self.text.split("\n")
        line = f"({lines[0]}" if row == 1 else lines[min(row, len(lines)) - 1]
        column = len(line.encode()[:in_bytes].decode(errors="replace")) - (row == 1)
        return sum(len(each) + 1 for each in lines[: row - 1]) + max(column, 0)

    def _source(self, node: ast.AST) -> str:
        """What is typed, on one line."""
        segment = ast.get_source_segment(f"({self.text}\n)", node) or ""
        return re.sub(r"\s*\n\s*", " ", segment)

    def _unwrapped(self, node: ast.expr) -> list[ast.Call]:
        """The calls inside tuples, lists, ``model.add(…)`` and ``Sequential(…)``."""
        if isinstance(node, (ast.Tuple, ast.List)):
            return [call for each in node.elts for call in self._unwrapped(each)]
        if not isinstance(node, ast.Call):
            if isinstance(node, (ast.Name, ast.Attribute)):
                self.reject(self._start(node), f"{shown(self._source(node))} has no brackets; write a layer {EXAMPLE}.")
            self.reject(self._start(node), f"this is no layer; write one {EXAMPLE}.")
        path = self._path(node.func)
        inner = path.rpartition(".")[2]
        if (inner == "add" and "." in path) or inner == "Sequential":
            if node.keywords:
                self.reject(self._start(node.keywords[0]), f"{inner} takes layers only.")
            if inner == "add" and len(node.args) != 1:
                self.reject(self._start(node), f"{shown(path)} takes one layer, but got {len(node.args)}.")
            return [call for each in node.args for call in self._unwrapped(each)]
        return [node]

    def _path(self, function: ast.expr) -> str:  # noqa: RET503  (reject never returns)
        """The dotted name that is called."""
        parts: list[str] = []
        node = function
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            return ".".join(reversed([*parts, node.id]))
        if isinstance(node, ast.Call) and not parts:
            self.reject(self._start(node), "a layer is called on a value; write the layer alone, without `(x)`.")
        self.reject(self._start(function), f"only names of layers are called; write a layer {EXAMPLE}.")

    def _layer(self, node: ast.Call) -> WrittenLayer:
        prefix, _, name = self._path(node.func).rpartition(".")
        start = self._start(node)
        if prefix not in PREFIXES:
            near = nearest_names([each for each in PREFIXES if each], prefix)
            self.reject(start, f"{shown(prefix)} is not read; nearest: {', '.join(near)}.")
        positional = tuple(
            Value(self._source(each), self._start(each), self._end(each), self._literal(each, f"argument {at + 1}"))
            for at, each in enumerate(node.args)
        )
        keywords = []
        for each in node.keywords:
            if each.arg is None:
                self.reject(self._start(each), "a ** argument is no literal; write the arguments out.")
            value = self._literal(each.value, each.arg)
            keywords.append((each.arg, Value(self._source(each), self._start(each), self._end(each), value)))
        return WrittenLayer(name, prefix, self._source(node), start, self._end(node), positional, tuple(keywords))

    def _literal(self, node: ast.expr, name: str) -> object:  # noqa: RET503  (as above)
        """The value of a literal: a number, a text, True, False, None, or a tuple or list of these."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.Tuple, ast.List)):
            return tuple(self._literal(each, name) for each in node.elts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            value = node.operand.value
            signed = isinstance(node.op, (ast.USub, ast.UAdd))
            if signed and isinstance(value, (int, float)) and not isinstance(value, bool):
                return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Call) and self._source(node) in {'float("-inf")', "float('-inf')"}:
            return -math.inf  # the one number of these lines that Python has no literal for
        start, text = self._start(node), shown(self._source(node))[:60]
        if isinstance(node, ast.Name):
            self.reject(start, f"{text} is a name; {_instead(name, text)}.")
        if isinstance(node, ast.Attribute):
            self.reject(start, f"{text} is the name of an object; {_instead(name, text)}.")
        if isinstance(node, ast.Call):
            self.reject(start, f"{text} is a call inside {shown(name)}; {_instead(name, text)}.")
        if isinstance(node, (ast.BinOp, ast.UnaryOp)):
            self.reject(start, f"{text} is a calculation; write its result.")
        kind = next((words for each, words in _KINDS.items() if isinstance(node, each)), "this")
        self.reject(start, f"{kind} is no literal; write a number, a text in quotes, True, False, None or a tuple.")


_TEXTS = {"padding": '"same"', "activation": '"relu"', "data_format": '"channels_last"', "padding_mode": '"zeros"'}


def _instead(name: str, text: str) -> str:
    """What to write instead of a value that is no literal."""
    if text.lower() in ("true", "false", "none"):
        return f"write {text.capitalize()}"
    if text.lower() in ("same", "valid", "causal", "relu", "sigmoid", "tanh", "softmax"):
        return f'write "{text.lower()}" in quotes'
    if name in _TEXTS:
        return f"write a text in quotes, such as {_TEXTS[name]}"
    if name.rpartition("_")[2] in {"initializer", "regularizer", "constraint"} or name in {"dtype", "device"}:
        return f"omit {name}, which changes no size"
    return "write its number"


def bound(line: Line, written: WrittenLayer, names: Iterable[str], only_by_name: Iterable[str]) -> Mapping[str, Value]:
    """The arguments by the names of their parameters, in the order in which they are typed.

    Args:
        line: that contains the layer.
        written: the layer.
        names: of the parameters, in their order.
        only_by_name: further parameters.

    Raises:
        UsageError: an argument is unknown, given twice, or one too many.
    """
    order = list(names)
    if len(written.positional) > len(order):
        extra = written.positional[len(order)]
        counted = f"{len(order)} argument{'' if len(order) == 1 else 's'}"
        line.reject(extra.start, f"{written.name} takes {counted} by position, but got {len(written.positional)}.")
    found = dict(zip(order, written.positional, strict=False))
    known = [*order, *only_by_name]
    for name, value in written.keywords:
        if name not in known:
            near = ", ".join(nearest_names(known, name))
            line.reject(value.start, f"{written.name} has no argument {shown(name)}; nearest: {near}.")
        if name in found:
            line.reject(value.start, f"{name} is given twice.")
        found[name] = value
    return found
