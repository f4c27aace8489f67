"""The record of a loss for the engines: its formula, the derivatives, and shortcuts where it has any."""

from __future__ import annotations

import functools
import hashlib
import math
import types
from typing import Any

from torchbce.formula import powers
from torchbce.formula.binding import Formula
from torchbce.formula.derivative import derivative


def target_defined(x: Any, y: Any) -> Any:
    """Return whether the target lies in [0, 1]; NaN does not."""
    return (y >= 0.0) & (y <= 1.0)


class Loss:
    """A loss by its formula `value(x, y, *parameters)`; each parameter has the default that makes it have no effect.

    Args:
        name: what the engines and messages call it.
        value: the formula.
        dx: its derivative by the input; derived where it is not given, as are the others.
        linear_in_target: the second derivative by the target is 0.
        hard, factored, factors, log_floor: where `factors` holds, which is for targets of 0 and 1, the formula with one
            logarithm; and the base and rest of -log(base + rest), of x and y with the parameters at their defaults; the
            floor of the logarithm.
        defined: formula of x and y for what is allowed; by default any input, and a target in [0, 1].
        checks_input: inputs have a range, so that values are checked always, and not only on request.

    Attributes:
        number: its place among the registered losses, by which a graph of torch.compile names it.
    """

    number: int

    def __init__(
        self,
        name: str,
        value: Formula,
        dx: Formula | None = None,
        *,
        dy: Formula | None = None,
        dxx: Formula | None = None,
        dxy: Formula | None = None,
        linear_in_target: bool = False,
        hard: Formula | None = None,
        factored: Formula | None = None,
        factors: Formula | None = None,
        log_floor: float | None = None,
        defined: Formula | None = None,
        checks_input: bool = False,
    ) -> None:
        self.name, self.value = name, value
        self._given = {"dx": dx, "dy": dy, "dxx": dxx, "dxy": dxy}
        self.linear_in_target = linear_in_target
        self.hard, self.factored, self.factors = hard, factored, factors
        self.least_factor = 0.0 if log_floor is None else math.exp(log_floor)
        self.defined, self.checks_input = defined or target_defined, checks_input
        code = value.__code__
        self.parameters = code.co_varnames[2 : code.co_argcount]
        self.defaults: tuple[float, ...] = value.__defaults__ or ()

    @property
    def given_dx(self) -> Formula | None:
        return self._given["dx"]

    @functools.cached_property
    def exponents(self) -> frozenset[str]:
        """Return the parameters that are exponents: a power of some whole numbers is a product."""
        return powers.exponents(self.value)

    @functools.cached_property
    def dx(self) -> Formula:
        return self._given["dx"] or _needed(derivative(self.value, 0), self.name)

    @functools.cached_property
    def dy(self) -> Formula | None:
        return self._given["dy"] or derivative(self.value, 1)

    @functools.cached_property
    def dxx(self) -> Formula | None:
        return self._given["dxx"] or derivative(self.dx, 0)

    @functools.cached_property
    def dxy(self) -> Formula | None:
        return self._given["dxy"] or derivative(self.dx, 1)

    @functools.cached_property
    def dyy(self) -> Formula | None:
        return None if self.linear_in_target or self.dy is None else derivative(self.dy, 1)

    @functools.cached_property
    def text(self) -> str:
        """Text that names machine code, the same for the same formulas."""
        digest = hashlib.sha256()
        for formula in (self.value, self.dx, self.hard, self.factored, self.factors, self.defined):
            if formula is not None:
                _add_code(digest, formula)
        return f"{self.name} {digest.hexdigest()} {self.least_factor} {self.defaults}"


def _needed(formula: Formula | None, name: str) -> Formula:
    if formula is None:
        raise ValueError(f"{name} does not depend on its input: its derivative is 0")
    return formula


def _add_code(digest: hashlib._Hash, formula: Formula) -> None:
    code = formula.__code__
    constants = [constant for constant in code.co_consts if constant != formula.__doc__]
    digest.update(repr((code.co_code, constants, code.co_names, code.co_varnames)).encode())
    for name in code.co_names:
        ours = formula.__globals__.get(name)
        if isinstance(ours, types.FunctionType):
            _add_code(digest, ours)
        elif isinstance(ours, float):
            digest.update(repr(ours).encode())
