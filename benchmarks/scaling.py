"""What processes cost each other: steps of one network by one and by two processes, and what a model makes of them.

One machine, one thread for each process, gloo over the loopback device; a batch of 4,096 rows, in micro-batches, of 24
random numbers in 64 bins. Measured are the seconds of a step and of the exchange alone. The model: a step of P
processes takes the rows' share, rows / (P * rate), and log2(P) exchanges of latency + bytes / bandwidth. Latency is
measured here; what it says of networks and of more processes than two is arithmetic, not a measurement.

Run: python benchmarks/scaling.py            (two minutes)
"""

from __future__ import annotations

import math
import multiprocessing
import os
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import machine
import numpy as np
import torch

BATCH, COLUMNS, PIECES = 4096, 24, 64
STEPS = 60
WIDTHS = {"32-32": [32, 32], "128-128": [128, 128]}
BANDWIDTH = 10e9 / 8  # bytes a second: a network of 10 Gbit/s, assumed


@dataclass(frozen=True)
class Timed:
    """Seconds of a step and of its exchange, and bytes of a gradient."""

    step: float
    exchange: float
    size: int


def work(number: int, count: int, port: int, hidden: list[int], answer: Any) -> None:
    """One process."""
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    from torchbce.common import processes
    from torchbce.perceptron.trainer import Optimizer, one_blas_thread
    from torchbce.table.ensemble.member import new_network
    from torchbce.table.network.all_reduce import all_reduce
    from torchbce.table.network.bins import quantile_bin_edges
    from torchbce.table.network.compiled import encoded
    from torchbce.table.network.data_parallel import DataParallelStep
    from torchbce.table.network.pairwise_sum import share_of
    from torchbce.table.network.table_network import NetworkSpec

    torch.set_num_threads(1)
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(50_000, COLUMNS)).astype(np.float32)
    edges = quantile_bin_edges(rows, PIECES)
    spec = NetworkSpec(pieces=[len(cuts) - 1 for cuts in edges], levels=[], hidden=hidden, dropout=0.2)
    network = new_network(spec, edges, 0.5, 1)
    ready = encoded(rows, network, (rows[:, 0] > 0).astype(np.float32))
    order = torch.from_numpy(chance.permutation(len(rows)).astype(np.int32))
    with processes.joined(), one_blas_thread(), ThreadPoolExecutor(1) as threads:
        parallel = DataParallelStep.of(network, Optimizer("adamw", 0.1), threads, seed=1)
        steps, exchanges = [], []
        micro_batches, size = BATCH // parallel.micro_batch_rows, len(parallel.first.gradient)
        own = share_of(micro_batches, number, count)
        for step in range(STEPS):
            some = torch.roll(order, step * 100)[:BATCH].contiguous()
            start = time.perf_counter()
            parallel.step(ready, some, 1e-3, dropout_counter=step * micro_batches)
            steps.append(time.perf_counter() - start)
            start = time.perf_counter()
            if count > 1:
                all_reduce(
                    {own: parallel.first.gradient}, torch.zeros(micro_batches, dtype=torch.float64), micro_batches, size
                )
            exchanges.append(time.perf_counter() - start)
    if number == 0:
        answer.put(Timed(statistics.median(steps), statistics.median(exchanges), 4 * size))


def timed(count: int, hidden: list[int]) -> Timed:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    workers = [context.Process(target=work, args=(number, count, port, hidden, answer)) for number in range(count)]
    for worker in workers:
        worker.start()
    found: Timed = answer.get()
    for worker in workers:
        worker.join()
    return found


def main() -> None:
    measured, model = [], []
    for name, hidden in WIDTHS.items():
        one, two = timed(1, hidden), timed(2, hidden)
        rate = BATCH / one.step
        measured.append(
            [
                name,
                f"{one.size / 1024:.0f} KiB",
                f"{1e3 * one.step:.2f} ms",
                f"{1e3 * two.step:.2f} ms",
                f"{1e3 * two.exchange:.2f} ms",
                f"{rate / 1e6:.2f} M",
                f"{BATCH / two.step / 1e6:.2f} M",
            ]
        )
        for rows, count, each in (
            (1e9, 16, 256),
            (1e9, 16, 4096),
            (1e9, 64, 4096),
            (1e12, 256, 4096),
            (1e12, 4096, 4096),
        ):
            batch = each * count
            exchange = math.log2(count) * (two.exchange + one.size / BANDWIDTH)
            step = batch / (count * rate) + exchange
            model.append(
                [
                    f"{rows:.0e}, {name}",
                    str(count),
                    f"{batch:,}",
                    f"{rows / batch * step / 3600:,.1f} h",
                    f"{exchange / step:.0%}",
                ]
            )
    text = [
        "# Several processes: a step of 4,096 rows of 24 columns",
        "",
        machine.describe("numpy"),
        "",
        machine.table(
            [
                "hidden layers",
                "gradient",
                "step, 1 process",
                "step, 2 processes",
                "exchange alone",
                "rows a second, 1",
                "rows a second, 2",
            ],
            measured,
        ),
        "",
        "What the model says of an epoch, were each process a core as here, joined by 10 Gbit/s with the latency of "
        "the loopback device here:",
        "",
        machine.table(["rows", "processes", "batch", "an epoch", "exchange"], model),
    ]
    machine.keep("scaling", "\n".join(text))


if __name__ == "__main__":
    main()
