"""A loss as a module: its function with the options kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchbce.engine.options import CALL, Normalize, Options, check_ranges, in_words, known, spell_out


class LossModule(torch.nn.Module):
    """A loss function with its options kept: numbers as they are, tensors as buffers.

    Args:
        options: of the function, which a subclass names.

    Raises:
        TypeError: an option that does not exist, or a required one that is missing.
        ValueError: an option out of its range.
    """

    function: Callable[..., Tensor]

    def __init_subclass__(cls) -> None:
        spell_out(cls, cls.function)

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__()
        name = type(self).__name__
        if given:
            own = [n for n in inspect.signature(type(self)).parameters if n not in ("weight", "reduction")]
            example = own[0] if own else "weight"
            raise TypeError(f"{name} takes its options by name, such as {name}({example}={given[0]!r})")
        if hasattr(type(self), "function"):
            check_names(self.function, options, name)
            check_ranges(getattr(self.function, "ranges", {}), options)
        self.options = {name: value for name, value in options.items() if not isinstance(value, Tensor)}
        for name, value in options.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    @property
    def reduction(self) -> str:
        """Reduction, as in torch's losses."""
        return str(self.options.get("reduction", "mean"))

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, normalize: Normalize | None = None
    ) -> Tensor:
        own = self.options if normalize is None else {**self.options, "normalize": normalize}
        return self.function(input, target, mask=mask, **own, **self._buffers)

    def extra_repr(self) -> str:
        named = inspect.signature(self.function).parameters.values()
        own = [p for p in named if p.kind is p.KEYWORD_ONLY and p.name not in Options.__annotations__]
        defaults = {p.name: p.default for p in own if isinstance(p.default, float)}
        return in_words({**defaults, **self.options, **self._buffers})


def check_names(function: Callable[..., Tensor], options: Any, module: str) -> None:
    """Raise unless each option is one of the function that a module can keep, and none is missing."""
    parameters = inspect.signature(function).parameters
    for name in CALL:
        if name in options:
            raise TypeError(f"a module takes options; {name} goes to the call")
    known(options, [name for name in parameters if name not in (*CALL, "options")])
    for name, parameter in parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty and name not in options:
            raise TypeError(f"{module} misses its option {name!r}: write {module}({name}=...)")


def options_of(module: torch.nn.Module, normalize: Normalize | None) -> Options:
    """Return the module's options, with the call's `normalize`."""
    options: Options = module.options  # type: ignore[assignment]
    return options if normalize is None else {**options, "normalize": normalize}


def shown(module: torch.nn.Module) -> str:
    """Return the text of what differs from the plain loss."""
    shown: dict[str, object] = dict(module._buffers)
    if module.reduction != "mean":
        shown["reduction"] = module.reduction
    return in_words(
        {name: value for name, value in shown.items() if value is not None} | dict(options_of(module, None))
    )


def refuse_script(module: torch.nn.Module) -> None:
    weighed = isinstance(module, torch.nn.BCELoss) and module._buffers.get("pos_weight") is not None
    if options_of(module, None) or weighed:
        raise NotImplementedError(
            "torch.jit.script compiles torch's own loss in place of torchbce's, and that has no such options: "
            f"{module}; script the model without its loss"
        )


def as_buffer(name: str, weight: Tensor | float | None) -> Tensor | None:
    if weight is None or isinstance(weight, Tensor):
        return weight
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise TypeError(
            f"{name} must be a Tensor, a number or None, got {type(weight).__name__}; write torch.tensor({name})"
        )
    return torch.tensor(float(weight))
