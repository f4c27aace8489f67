"""Compiled code looks at no shape and no limit: what it is called with was checked, and cannot be made otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from table_networks import twins
from torch_machines import by_torch
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS
from torchbce.perceptron.layers import Dense
from torchbce.perceptron.rows import Limits, OutOfRange, Rows, largest_of_columns
from torchbce.perceptron.trainer import CompiledTrainer, Optimizer
from torchbce.table.network.compiled import _layers, compiled, encoded

RATES = torch.zeros(1, dtype=torch.float64)
LIMITS = Limits((4, 2), 1, (3,))


def rows(**changes) -> Rows:
    count = 70
    parts = {
        "bins": torch.ones(count, 2).to(torch.uint16),
        "fractions": torch.zeros(count, 2),
        "numbers": torch.zeros(count, 1),
        "codes": torch.full((count, 1), 2, dtype=torch.int32),
        "target": torch.zeros(count),
        "weight": torch.ones(count),
        "limits": LIMITS,
    }
    return Rows(**parts | changes)


@pytest.mark.parametrize("row", [0, 63, 64, 69])
@pytest.mark.parametrize(
    ("part", "column", "value"),
    [("bins", 0, 4), ("bins", 1, 2), ("bins", 1, 65_535), ("codes", 0, 3), ("codes", 0, -1), ("codes", 0, -(2**31))],
)
def test_rows_that_lead_out_of_a_table_cannot_be_made(part, column, value, row):
    values = getattr(rows(), part).numpy().copy()
    values[row, column] = value
    with pytest.raises(OutOfRange) as found:
        rows(**{part: torch.from_numpy(values)})
    assert (found.value.part, found.value.row, found.value.column, found.value.value) == (part, row, column, value)
    assert found.value.count == (LIMITS.bins if part == "bins" else LIMITS.levels)[column]


@pytest.mark.parametrize("part", ["bins", "fractions", "numbers", "codes", "target", "weight"])
def test_rows_of_other_shapes_elements_and_strides_cannot_be_made(part):
    whole = getattr(rows(), part)
    for changed in (
        whole[1:],
        whole.double() if whole.is_floating_point() else whole.long(),
        torch.stack([whole, whole], -1)[..., 0],
        whole.new_zeros(0),
    ):
        with pytest.raises(ValueError, match=f"{part} is .*expected|is .*expected"):
            rows(**{part: changed})


def test_the_largest_of_each_column_is_found_whatever_the_number_of_rows():
    rng = np.random.default_rng(0)
    for count in (1, 63, 64, 65, 500):
        for columns in (1, 3, 70):
            values = rng.integers(0, 1 << 16, (count, columns)).astype(np.uint16)
            assert np.array_equal(largest_of_columns(values), values.max(0))


def test_a_machine_takes_no_rows_of_another_network():
    net, _, table, target = twins({})
    machine, ready = compiled(net, Optimizer("sgd"), batch=300, seed=0), encoded(table, net, target)
    order = torch.arange(300, dtype=torch.int32)
    machine.train(ready, order, RATES)
    for limits in (
        ready.limits._replace(levels=(*ready.limits.levels[:-1], ready.limits.levels[-1] + 1)),
        ready.limits._replace(bins=(4097, *ready.limits.bins[1:])),
    ):
        with pytest.raises(ValueError, match="are not those of a network of"):
            machine.train(replace(ready, limits=limits), order, RATES)
        with pytest.raises(ValueError, match="are not those of a network of"):
            machine.outputs(replace(ready, limits=limits))
        other = by_torch(twins({})[0], Optimizer("sgd"), batch=300)
        with pytest.raises(ValueError, match="are not those of a network of"):
            other.outputs(replace(ready, limits=limits))


@pytest.mark.parametrize("wrong", [300, -1, 2**31 - 1])
def test_an_order_is_of_rows_that_are_there(wrong):
    net, _, table, target = twins({})
    machine, ready = compiled(net, Optimizer("sgd"), batch=300, seed=0), encoded(table, net, target)
    order = torch.arange(300, dtype=torch.int32)
    order[7] = wrong
    for call in (
        lambda: machine.train(ready, order, RATES),
        lambda: machine.outputs(ready, order),
        lambda: machine.accumulate_gradient(ready, order, batch_rows=300, dropout_counter=0),
    ):
        with pytest.raises(ValueError, match="order names rows from"):
            call()
    with pytest.raises(ValueError, match="order is torch.int64"):
        machine.train(ready, torch.arange(300), RATES)
    with pytest.raises(ValueError, match="rates is"):
        machine.train(ready, torch.arange(300, dtype=torch.int32), RATES.repeat(2))
    with pytest.raises(ValueError, match="order is empty"):
        machine.train(ready, order[:0], RATES[:0])
    with pytest.raises(ValueError, match="no part of a batch of 0"):
        machine.accumulate_gradient(ready, torch.arange(300, dtype=torch.int32), batch_rows=0, dropout_counter=0)


def test_accumulating_gradients_leaves_room_for_what_training_counts():
    net, _, table, target = twins({})
    machine, ready = compiled(net, Optimizer("sgd"), batch=200, seed=0), encoded(table, net, target)
    machine.accumulate_gradient(ready, torch.arange(300, dtype=torch.int32), batch_rows=300, dropout_counter=0)
    assert len(machine._loss) >= 3


def test_layers_that_do_not_fit_each_other_cannot_be_made():
    net, *_ = twins({"heads": 2})
    whole = _layers(net)
    assert CompiledTrainer(whole, BCE_WITH_LOGITS, Optimizer(), batch=4)
    apart = torch.zeros_like(whole.output_weight)
    layer = whole.hidden[0]
    for changes in (
        {"output_weight": apart},  # no part of the parameters
        {"output_weight": whole.output_weight[:, 1:]},
        {"output_bias": whole.output_bias[:1]},
        {"numeric": whole.numeric + 1},
        {"signs": None},
        {"direct": whole.direct[1:]},
        {"level_weights": whole.level_weights[::-1]},
        {"embeddings": [table[:-1] for table in whole.embeddings]},
        {"embeddings": whole.embeddings[1:]},
        {"hidden": [Dense(layer.weight, layer.bias[1:], layer.activation), *whole.hidden[1:]]},
        {"hidden": []},
        {"binned": whole.binned._replace(start=whole.binned.start[:, 1:])},
        {"binned": whole.binned._replace(length=whole.binned.length.double())},
        {"parameters": whole.parameters[:-1]},
        {"parameters": whole.parameters.double()},
    ):
        with pytest.raises(ValueError, match="expected|no part of|is (shorter|longer)"):
            replace(whole, **changes)
