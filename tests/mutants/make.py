"""Makes the mutants of a module with the operators of cosmic-ray, and prints them as JSON.

It runs in an environment of its own, which has cosmic-ray and nothing of the product. What cannot matter is not
mutated: annotations, what is for type checkers alone, log lines, and the options of dataclasses. A comparison becomes
its opposite or moves its boundary, and an operator becomes one other: the further ones of cosmic-ray die with these.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.exception_replacer import ExceptionReplacer
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python import tree

COMPARISONS = (
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
)
BINARY = (
    *("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul"),
    *("BitOr_BitAnd", "BitAnd_BitOr", "LShift_RShift", "RShift_LShift"),
)
OTHERS = (
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "RemoveDecorator"),
    *("ZeroIterationForLoop", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_USub_UAdd"),
)
NAMES = (
    *(f"ReplaceComparisonOperator_{each}" for each in COMPARISONS),
    *(f"ReplaceBinaryOperator_{each}" for each in BINARY),
    *OTHERS,
)
FOR_TYPES = ("@final", "@overload", "@override")


class ReplaceException(ExceptionReplacer):  # type: ignore[misc]  # untyped
    """Makes an `except` clause catch nothing; that of cosmic-ray knows no names with dots."""

    def mutate(self, node: Any, index: int) -> Any:
        """Put a name there that is not defined."""
        named = self._name_nodes(node)[index]
        siblings = named.parent.children
        siblings[siblings.index(named)] = tree.Name("Nothing", named.start_pos, prefix=" ")
        return node


class RemoveStatement(Operator):  # type: ignore[misc]  # untyped
    """Removes a call whose result nobody takes, or a `raise`: what is done, and what is refused."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where there is one."""
        removed = self._is_call(node) or node.type == "raise_stmt" or getattr(node, "value", "") == "raise"
        if removed and node.parent is not None and node.parent.type == "simple_stmt":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put `pass` in its place."""
        return tree.Name("pass", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: they are for the tests of cosmic-ray."""
        return ()

    @staticmethod
    def _is_call(node: Any) -> bool:
        if node.type not in ("atom_expr", "power"):
            return False
        last = node.children[-1]
        return bool(last.type == "trailer" and last.children[0].value == "(")


def main() -> None:
    """Print the mutants of the module whose path is the argument."""
    source = Path(sys.argv[1]).read_text()
    json.dump(list(_mutants(source)), sys.stdout)


def _mutants(source: str) -> Iterator[dict[str, Any]]:
    provider = OperatorProvider()
    seen = {source}
    for operator in (*(provider[name]() for name in NAMES), ReplaceException(), RemoveStatement()):
        positions = [
            (node, start) for node in ast_nodes(get_ast(source)) for start, _ in operator.mutation_positions(node)
        ]
        for occurrence, (node, (line, _)) in enumerate(positions):
            if _cannot_matter(node, line):
                continue
            mutated = mutate_code(source, operator, occurrence)
            if mutated is not None and mutated not in seen:
                seen.add(mutated)
                yield {"line": line, "source": mutated}


def _cannot_matter(node: Any, line: int) -> bool:
    if node.type == "decorator" and node.get_code(include_prefix=False).startswith(FOR_TYPES):
        return True
    child = node
    while (parent := child.parent) is not None:
        if parent.type == "decorator" and "dataclass" in parent.get_code():
            return True
        if _is_annotation(child, parent) or _is_for_types(child, parent):
            return True
        if child.type in ("atom_expr", "power") and child.get_code(include_prefix=False).startswith("logger."):
            return True
        child = parent
    return False


def _is_annotation(child: Any, parent: Any) -> bool:
    if parent.type == "tfpdef":
        return child is parent.children[-1]
    if parent.type == "annassign":
        return child is parent.children[1]
    if parent.type == "funcdef":
        return child is parent.annotation
    return False


def _is_for_types(child: Any, parent: Any) -> bool:
    """Whether it is below `if TYPE_CHECKING`, or an alias such as `KeyOf = Callable[[str], bytes | None]`."""
    if parent.type == "if_stmt" and parent.children[1].get_code().strip() == "TYPE_CHECKING":
        return True
    if parent.type != "expr_stmt" or parent.parent.parent.type != "file_input":
        return False
    return bool(parent.children[-1].get_code().strip().startswith(("Callable[", "tuple[", "Mapping[", "dict[")))


if __name__ == "__main__":
    main()
