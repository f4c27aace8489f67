"""The options of `torchbce train`. Every option is chosen by hand; a test holds the list."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

from torchbce.cli.shared.options import CsvOptions, Table, option
from torchbce.cli.shared.values import at_most_one, bytes_of, one_of, positive_rate, seconds_of, sizes_of
from torchbce.common.visible import visible

if TYPE_CHECKING:
    from torchbce.table.train_args import TrainArgs

# An option in each panel of --help.
rows, estimate, model, long = (
    partial(option, panel=name) for name in ("Rows and columns", "The estimate", "The model", "Long runs")
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(CsvOptions):
    """The table, its columns, how the model is estimated and trained, and the run folder."""

    file: Table
    target: Annotated[str, option("The yes/no column.")]
    positive: Annotated[
        Optional[str], rows("The target's value that counts as 1.", shown="1, true or yes, else the later one")
    ] = None
    exclude: Annotated[list[str], rows("A column to leave out; may be repeated.", "COL")] = field(default_factory=list)
    categorical: Annotated[list[str], rows("A column of numbers to read as categories; may be repeated.", "COL")] = (
        field(default_factory=list)
    )
    weight: Annotated[Optional[str], rows("The column of weights.", "COL")] = None
    test: Annotated[Optional[str], estimate("Estimate on another table.", "FILE")] = None
    test_share: Annotated[
        Optional[float],
        estimate(
            "Estimate on this share of the rows, kept aside; 0 for none.",
            shown="0.2 from 10,000 rows on",
            min=0.0,
            max=0.9,
        ),
    ] = None
    folds: Annotated[
        Optional[int],
        estimate("Estimate by cross-validation, on every row.", shown="5 below 10,000 rows", min=2, max=100),
    ] = None
    group: Annotated[
        Optional[str], estimate("A column such as the patient: rows with the same value are never split.", "COL")
    ] = None
    time: Annotated[
        Optional[str], estimate("A column of times: learn from earlier rows, estimate on later ones.", "COL")
    ] = None
    compare: Annotated[bool, estimate("Estimate boosted trees too, on the same rows.", name="--compare")] = False
    time_budget: Annotated[Optional[str], model("The most time to read and train, such as 90s, 5m or 2h.", "5m")] = None
    hidden: Annotated[
        Optional[str], model("Sizes of the hidden layers; 0 for none.", "8,8", shown="32 to 256,128, by the rows")
    ] = None
    members: Annotated[
        Optional[int],
        model("The number of networks, whose probabilities are averaged.", shown="by the rows", min=1, max=100),
    ] = None
    trees: Annotated[bool, model("Blend the networks with boosted trees, or not.", shown=True)] = True
    epochs: Annotated[Optional[int], model("The most epochs.", shown="10 to 30, by the rows", min=1)] = None
    batch_size: Annotated[Optional[int], model("Rows per training step.", shown="32 to 1024, by the rows", min=1)] = (
        None
    )
    lr: Annotated[Optional[float], model("The learning rate.", shown="0.005 for adamw, 0.1 for sgd", min=0.0)] = None
    optimizer: Annotated[str, model("adamw, with a one-cycle schedule, or plain sgd.", "adamw|sgd", shown=True)] = (
        "adamw"
    )
    patience: Annotated[
        int, model("Stop after this many epochs without a better validation BCE.", shown=True, min=1)
    ] = 10
    seed: Annotated[int, model("The same seed gives the same run, bit for bit.", shown=True, min=0)] = 42
    device: Annotated[str, model("The device that trains the networks.", "cpu|cuda|cuda:N", shown=True)] = "cpu"
    out: Annotated[Optional[Path], option("The run folder to write.", "DIR", shown="runs/FILE")] = None
    checkpoint: Annotated[str, long("The time between checkpoints, for --resume; or off.", "5m", shown=True)] = "5m"
    resume: Annotated[
        Optional[bool],
        long(
            "Resume this very run, or accept it if it is finished; or start again.",
            name="--resume/--no-resume",
            shown="resume if it is unfinished",
        ),
    ] = None
    on_nan: Annotated[
        str,
        long("At a batch whose loss is not finite: stop, or skip the batch.", "stop|skip", name="--on-nan", shown=True),
    ] = "stop"
    memory: Annotated[
        Optional[str],
        long(
            "The memory for the table; a larger one is packed to a cache and read in blocks.",
            "8G",
            shown="half of the machine's",
        ),
    ] = None
    cache: Annotated[
        Optional[Path], long("The folder of that cache, which is used again.", "DIR", shown="RUN.cache")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most_one(
            {"--test": self.test, "--test-share": self.test_share, "--folds": self.folds},
            "rows are kept aside in one way",
        )

    @property
    def args(self) -> TrainArgs:
        """What the run depends on."""
        from torchbce.table.columns.roles import ColumnRoles
        from torchbce.table.ensemble.config import UserOptions
        from torchbce.table.splits.holdout import Holdout
        from torchbce.table.train_args import TrainArgs

        return TrainArgs(
            table=self.file,
            roles=ColumnRoles(
                target=self.target,
                positive=self.positive,
                exclude=self.exclude,
                categorical=self.categorical,
                weight=self.weight,
                group=self.group,
                time=self.time,
            ),
            held=Holdout(file=self.test, share=self.test_share, folds=self.folds),
            options=UserOptions(
                hidden=sizes_of(self.hidden),
                members=self.members,
                trees=self.trees,
                epochs=self.epochs,
                batch_size=self.batch_size,
                lr=positive_rate(self.lr),
                optimizer="sgd" if one_of("--optimizer", self.optimizer, ["adamw", "sgd"]) == "sgd" else "adamw",
                patience=self.patience,
                time_budget=seconds_of("--time-budget", self.time_budget),
                on_nan="skip" if one_of("--on-nan", self.on_nan, ["stop", "skip"]) == "skip" else "stop",
                device=self.device,
            ),
            seed=self.seed,
            compare=self.compare,
            format=self.format,
        )

    @property
    def checkpoint_seconds(self) -> float | None:
        """The time between two checkpoints; None for none."""
        return None if self.checkpoint == "off" else seconds_of("--checkpoint", self.checkpoint)

    @property
    def memory_bytes(self) -> float | None:
        """The memory that a table may need; None for half of the machine's."""
        return bytes_of("--memory", self.memory)

    @property
    def folder(self) -> Path:
        """The run folder to write; without --out a free name near it will do."""
        stem = visible(Path(self.file).name.split(".")[0].strip("*?[]")).replace("\\", "_")
        return self.out or Path("runs") / (stem or "table")

    @property
    def is_exact(self) -> bool:
        """Whether the run folder must have this very name."""
        return self.out is not None

    @property
    def cache_folder(self) -> Path:
        """The folder where a table is packed that does not fit in memory."""
        return self.cache or self.folder.with_name(f"{self.folder.name}.cache")
