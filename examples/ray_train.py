"""Ray Train starts the processes of `torchbce train`: python examples/ray_train.py train table.parquet --target y ...

File names must be absolute, as workers have folders of their own. Needs `pip install 'ray[train]'`.
"""

from __future__ import annotations

import sys

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer


def work(config: dict[str, list[str]]) -> None:
    """One worker: Ray has joined it with the others."""
    from torchbce.cli.app import app

    app(config["arguments"], standalone_mode=False)


if __name__ == "__main__":
    trainer = TorchTrainer(
        work,
        train_loop_config={"arguments": [*sys.argv[1:], "--resume"]},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    )
    trainer.fit()
