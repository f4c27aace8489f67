"""fused_loss: a Python function of one item becomes a loss like torchbce's own."""

from __future__ import annotations

import functools
import inspect
import linecache
import math
import traceback
from collections.abc import Callable
from typing import Any, overload

from torch import Tensor

from torchbce.engine import reference
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import Options
from torchbce.engine.overrides import handled, has_torch_function_variadic
from torchbce.formula.graph import Graph, Node, formula_of, in_order
from torchbce.formula.loss import Loss
from torchbce.formula.primitives import ALLOWED, Value
from torchbce.losses.bce import bce_defined
from torchbce.losses.module import LossModule, check_names

__all__ = ["FormulaError", "FusedLoss", "fused_loss"]

COMMON = ("input", "target", "weight", "reduction", "mask", *Options.__annotations__)


class FormulaError(TypeError):
    """A function cannot be made into a loss. The message names the line."""


class FusedLoss:
    """A loss made by :func:`fused_loss`; call it like one of torchbce's own.

    Attributes:
        loss: its formula and derivatives, as the engines use them.
        options: its own options and their defaults.
    """

    def __init__(self, function: Callable[..., Any], probabilities: bool) -> None:
        functools.update_wrapper(self, function)
        self.name = function.__qualname__
        self.options = _options(function)
        value, gradient = _read(function)
        names = tuple(inspect.signature(function).parameters)
        make = functools.partial(formula_of, inputs=names, defaults=tuple(self.options.values()))
        name = function.__name__ if function.__name__.isidentifier() else "loss"
        defined = bce_defined if probabilities else None
        loss = Loss(
            name,
            make(value, name=name),
            None if gradient is None else make(gradient, name=f"{name}_dx"),
            defined=defined,
            checks_input=probabilities,
        )
        self.loss = reference.register(loss)
        common = [
            inspect.Parameter("input", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Tensor),
            inspect.Parameter("target", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Tensor),
            inspect.Parameter("weight", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
            inspect.Parameter("reduction", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="mean"),
        ]
        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [inspect.Parameter(name, keyword, default=default) for name, default in self.options.items()]
        rest = [
            inspect.Parameter("mask", keyword, default=None),
            inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD),
        ]
        self.__signature__ = inspect.Signature([*common, *own, *rest], return_annotation=Tensor)

    def __call__(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | float | None = None,
        reduction: str = "mean",
        *,
        mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        if has_torch_function_variadic(input, target):
            given = {"mask": mask, **options}
            return handled(self, None, (input, target), input, target, weight, reduction, **given)
        parameters = tuple(options.pop(name, None) for name in self.options)
        for name in options:
            if name not in COMMON:
                have = ", ".join([*self.options, *COMMON[2:]])
                raise TypeError(f"{self.loss.name} has no option {name!r}; it has {have}")
        return compute_loss(self.loss, input, target, parameters, weight, reduction, mask, options)  # type: ignore[arg-type]

    def module(self, **options: Any) -> LossModule:
        """The loss as a module that keeps these options, tensors as buffers."""
        check_names(self, options, f"{self.loss.name}.module")
        made = LossModule(**options)
        made.function = self
        return made

    def __reduce__(self) -> str:
        return self.name  # pickled by name, as functions are

    def __repr__(self) -> str:
        return f"<fused loss {self.loss.name}{self.__signature__}>"


@overload
def fused_loss(function: Callable[..., Any]) -> FusedLoss: ...
@overload
def fused_loss(*, probabilities: bool = ...) -> Callable[[Callable[..., Any]], FusedLoss]: ...
def fused_loss(function: Callable[..., Any] | None = None, *, probabilities: bool = False) -> Any:
    r"""A loss from the lines for one item: one pass on CPU and GPU, differentiable, with every option of torchbce's
    own.

    The function takes the input, the target, and options with numbers as defaults. It is read once, not called for each
    item, so it is written without ``if`` on values: with arithmetic, comparisons and torch's exp, log, log1p, where,
    abs, sigmoid, clamp and the like. It returns the loss, whose derivative is then derived; or the loss and its
    derivative by the input. ``x.detach()`` counts as a constant in derivatives.

    Args:
        function: of one item.
        probabilities: inputs are probabilities; values outside [0, 1] are an error.

    Returns:
        A :class:`FusedLoss`: ``loss(input, target, weight, reduction, *, <its options>, mask, label_smoothing,
        target_threshold, num_classes, ignore_index, normalize, class_dim, validate)``. Its options take numbers, or
        tensors that broadcast to the input.

    Raises:
        FormulaError: the function does what a loss cannot; the message names the line and what is allowed.

    Example:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> @fused_loss
        ... def my_bce(x, y, gamma=0.0):
        ...     p = torch.sigmoid(x)
        ...     return (y * (1 - p) + (1 - y) * p) ** gamma * (y * F.softplus(-x) + (1 - y) * F.softplus(x))
        >>> my_bce(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]), gamma=2.0, reduction="none")
        tensor([0.1733, 0.0018])
    """
    if function is None:
        return lambda function: FusedLoss(function, probabilities)
    return FusedLoss(function, probabilities)


def _options(function: Callable[..., Any]) -> dict[str, float]:
    """Return the names of a function's options and their defaults."""
    parameters = list(inspect.signature(function).parameters.values())
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(plain) < 2 or len(plain) < len(parameters):
        raise FormulaError(f"{function.__name__} takes an input, a target and options with defaults, without * and **")
    options = {}
    for option in plain[2:]:
        if isinstance(option.default, bool) or not isinstance(option.default, int | float):
            raise FormulaError(f"option {option.name!r} of {function.__name__} needs a number as default")
        if option.name in COMMON:
            raise FormulaError(
                f"every loss has the option {option.name!r} already; call that of {function.__name__} otherwise"
            )
        options[option.name] = float(option.default)
    return options


def _read(function: Callable[..., Any]) -> tuple[Node, Node | None]:
    """Return the loss and, if it is given, its derivative."""
    graph = Graph(Value)
    inputs = [graph.input(name) for name in inspect.signature(function).parameters]
    try:
        result = function(*inputs)
        parts = result if isinstance(result, tuple) else (result,)
        roots = [graph.node(part) for part in parts]
    except Exception as error:
        raise FormulaError(f"{_place(function, error)}{error}; allowed are {ALLOWED}") from error
    if len(roots) not in (1, 2) or any(root.is_condition for root in roots):
        raise FormulaError(
            f"{function.__name__} returns the loss, or the loss and its derivative by the input; got {result}"
        )
    if all(node is not inputs[0] for node in in_order(roots[0])):
        raise FormulaError(f"{function.__name__} does not depend on its input {inputs[0].value!r}")
    if any(node.operation == "constant" and not math.isfinite(node.value) for root in roots for node in in_order(root)):
        raise FormulaError(f"{function.__name__} has a constant that is not finite")
    return roots[0], roots[1] if len(roots) == 2 else None


def _place(function: Callable[..., Any], error: Exception) -> str:
    """Return the last line of the function's own file that was being read."""
    code = inspect.unwrap(function).__code__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
    if not frames:
        return f"{function.__name__}: "
    last = frames[-1]
    text = linecache.getline(last.filename, last.lineno or 0).strip()
    return f"{function.__name__}, line {last.lineno}: {text!r}: "
