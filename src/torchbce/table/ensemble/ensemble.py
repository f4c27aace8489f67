"""The model for a table: networks and boosted trees, each averaged, then blended and scaled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from torchbce.perceptron.trainer import Optimizer, one_blas_thread
from torchbce.table.columns.background import COUNT, averaged_over
from torchbce.table.ensemble.blend import blend
from torchbce.table.ensemble.calibration import AS_IT_IS, Scaling
from torchbce.table.network.compiled import compiled, encoded
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.trees.boosted import BoostedTrees

ROWS = 65_536  # rows encoded at a time
BATCH = 512  # rows that go through a network together: their numbers stay in the caches


@dataclass
class Ensemble:
    """Encoded rows to one logit each.

    The logit of the mean probability over all heads of all networks, blended with that of all sets of trees, scaled. A
    row with unknown cells gets the logit of the mean over the `background`.
    """

    networks: list[TableNetwork]
    scaling: Scaling = AS_IT_IS
    trees: list[BoostedTrees] = field(default_factory=list)
    tree_weight: float = 0.0
    background: np.ndarray | None = None  # values for unknown cells

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return the logits (N,), float64, of rows of numbers and codes (N, inputs), float32, NaN where unknown."""
        with self.prepared() as logits:
            return logits(rows)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
        """Yield `logits` for many calls: compiled networks with many levels take long to set up."""
        with one_blas_thread(), ThreadPoolExecutor(torch.get_num_threads()) as threads:
            factory = [compiled(network, Optimizer(), batch=BATCH, seed=0) for network in self.networks]

            def part(chosen_rows: np.ndarray) -> np.ndarray:
                ready = encoded(chosen_rows, self.networks[0])  # all have the same pieces
                outputs = list(threads.map(lambda machine: machine.outputs(ready).numpy(), factory))
                logits = mean_logits(np.concatenate(outputs, 1))
                if self.trees:
                    of_trees = threads.map(
                        lambda trees: trees.logits(torch.from_numpy(chosen_rows)).numpy(), self.trees
                    )
                    logits = blend(logits, mean_logits(np.stack(list(of_trees), 1)), self.tree_weight)
                return self.scaling.of(logits)

            def logits(rows: np.ndarray) -> np.ndarray:
                results = np.empty(len(rows))
                incomplete = np.isnan(rows).any(1)
                for chosen in _parts(~incomplete, ROWS):
                    results[chosen] = part(rows[chosen])
                for chosen in _parts(incomplete, ROWS // COUNT):
                    assert self.background is not None, "unknown cells, and no values for them"
                    several = part(averaged_over(rows[chosen], self.background))
                    results[chosen] = mean_logits(several.reshape(len(chosen), -1))
                return results

            yield logits


def _parts(chosen: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the numbers of the chosen rows, at most `size` at a time."""
    numbers = np.flatnonzero(chosen)
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


def mean_logits(logits: np.ndarray) -> np.ndarray:
    """Return the logit of the mean probability, by row: from log p and log(1 - p), so that neither end loses digits."""
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        return wide[:, 0]
    yes, no = (np.logaddexp.reduce(-np.logaddexp(0.0, sign * wide), axis=1) for sign in (-1.0, 1.0))
    return np.asarray(yes - no)


def pool_logits(logits: np.ndarray, row: np.ndarray, count: int) -> np.ndarray:
    """Return a logit for each of `count` rows: of the mean probability where a row has several logits."""
    yes, no = np.full((2, count), -np.inf)
    np.logaddexp.at(yes, row, -np.logaddexp(0.0, -logits))
    np.logaddexp.at(no, row, -np.logaddexp(0.0, logits))
    return np.asarray(yes - no)
