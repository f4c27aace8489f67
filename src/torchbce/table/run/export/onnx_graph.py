"""Build an ONNX graph: one call per node, with names that are made up."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from torchbce.common.errors import InputError

OPSETS = {"": 18, "ai.onnx.ml": 3}


class OnnxGraph:
    """`graph("Add", a, b)` adds a node and returns the name of its output; arrays become constants."""

    def __init__(self) -> None:
        import onnx

        self._onnx = onnx
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._constants: list[Any] = []
        self._numbers = itertools.count()

    def __call__(self, operator: str, *inputs: str | np.ndarray, domain: str = "", **attributes: Any) -> str:
        name = f"{operator.lower()}_{next(self._numbers)}"
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(operator, names, [name], name, domain=domain, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{next(self._numbers)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def input(self, name: str, kind: type) -> str:
        """Add a column of the table, (N, 1), as an input: numbers (float) or texts (str)."""
        tensor = self._onnx.TensorProto
        element = tensor.DOUBLE if kind is float else tensor.STRING
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, element, ["N", 1]))
        return name

    def cast(self, value: str, kind: str) -> str:
        """Cast to "FLOAT", "DOUBLE" or "INT64"."""
        return self("Cast", value, to=getattr(self._onnx.TensorProto, kind))

    def model(self, outputs: dict[str, str], notes: dict[str, str]) -> Any:
        """Return the finished and checked model, with outputs by their names, each (N,) float64.

        Raises:
            InputError: ONNX does not allow it, such as a column without a name.
        """
        helper, tensor = self._onnx.helper, self._onnx.TensorProto
        for name, value in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        infos = [helper.make_tensor_value_info(name, tensor.DOUBLE, ["N"]) for name in outputs]
        graph = helper.make_graph(self._nodes, "torchbce", self._inputs, infos, self._constants)
        imports = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=imports, producer_name="torchbce", ir_version=9)
        helper.set_model_props(model, notes)
        try:
            self._onnx.checker.check_model(model, full_check=True)
        except (self._onnx.checker.ValidationError, self._onnx.shape_inference.InferenceError) as error:
            raise InputError(f"ONNX does not allow this model: {error}; export it as .pt2") from error
        return model
