"""The options of `torchbce train`. Every option is chosen by hand; a test holds the list."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from torchbce.cli.shared.options import CsvOptions, Table
from torchbce.cli.shared.values import at_most_one, bytes_of, one_of, positive_rate, seconds_of, sizes_of
from torchbce.common.visible import visible

if TYPE_CHECKING:
    from torchbce.table.train_args import TrainArgs

ROWS, ESTIMATE, MODEL, LONG = "Rows and columns", "The estimate", "The model", "Long runs"  # panels of --help


@dataclass(frozen=True, kw_only=True)
class TrainOptions(CsvOptions):
    """The table, its columns, how the model is estimated and trained, and the run folder."""

    file: Table
    target: Annotated[str, typer.Option(help="The yes/no column.", show_default=False)]
    positive: Annotated[
        Optional[str],
        typer.Option(
            rich_help_panel=ROWS,
            help="The target's value that counts as 1.",
            show_default="1, true or yes, else the later one",
        ),
    ] = None
    exclude: Annotated[
        list[str],
        typer.Option(
            rich_help_panel=ROWS, metavar="COL", help="A column to leave out; may be repeated.", show_default=False
        ),
    ] = field(default_factory=list)
    categorical: Annotated[
        list[str],
        typer.Option(
            rich_help_panel=ROWS,
            metavar="COL",
            help="A column of numbers to read as categories; may be repeated.",
            show_default=False,
        ),
    ] = field(default_factory=list)
    weight: Annotated[
        Optional[str],
        typer.Option(rich_help_panel=ROWS, metavar="COL", help="The column of weights.", show_default=False),
    ] = None
    test: Annotated[
        Optional[str],
        typer.Option(rich_help_panel=ESTIMATE, metavar="FILE", help="Estimate on another table.", show_default=False),
    ] = None
    test_share: Annotated[
        Optional[float],
        typer.Option(
            rich_help_panel=ESTIMATE,
            min=0.0,
            max=0.9,
            help="Estimate on this share of the rows, kept aside; 0 for none.",
            show_default="0.2 from 10,000 rows on",
        ),
    ] = None
    folds: Annotated[
        Optional[int],
        typer.Option(
            rich_help_panel=ESTIMATE,
            min=2,
            max=100,
            help="Estimate by cross-validation, on every row.",
            show_default="5 below 10,000 rows",
        ),
    ] = None
    group: Annotated[
        Optional[str],
        typer.Option(
            rich_help_panel=ESTIMATE,
            metavar="COL",
            help="A column such as the patient: rows with the same value are never split.",
            show_default=False,
        ),
    ] = None
    time: Annotated[
        Optional[str],
        typer.Option(
            rich_help_panel=ESTIMATE,
            metavar="COL",
            help="A column of times: learn from earlier rows, estimate on later ones.",
            show_default=False,
        ),
    ] = None
    compare: Annotated[
        bool, typer.Option("--compare", rich_help_panel=ESTIMATE, help="Estimate boosted trees too, on the same rows.")
    ] = False
    time_budget: Annotated[
        Optional[str],
        typer.Option(
            rich_help_panel=MODEL,
            metavar="5m",
            help="The most time to read and train, such as 90s, 5m or 2h.",
            show_default=False,
        ),
    ] = None
    hidden: Annotated[
        Optional[str],
        typer.Option(
            rich_help_panel=MODEL,
            metavar="8,8",
            help="Sizes of the hidden layers; 0 for none.",
            show_default="32 to 256,128, by the rows",
        ),
    ] = None
    members: Annotated[
        Optional[int],
        typer.Option(
            rich_help_panel=MODEL,
            min=1,
            max=100,
            help="The number of networks, whose probabilities are averaged.",
            show_default="by the rows",
        ),
    ] = None
    trees: Annotated[
        bool, typer.Option(rich_help_panel=MODEL, help="Blend the networks with boosted trees, or not.")
    ] = True
    epochs: Annotated[
        Optional[int],
        typer.Option(rich_help_panel=MODEL, min=1, help="The most epochs.", show_default="10 to 30, by the rows"),
    ] = None
    batch_size: Annotated[
        Optional[int],
        typer.Option(
            rich_help_panel=MODEL, min=1, help="Rows per training step.", show_default="32 to 1024, by the rows"
        ),
    ] = None
    lr: Annotated[
        Optional[float],
        typer.Option(
            rich_help_panel=MODEL, min=0.0, help="The learning rate.", show_default="0.005 for adamw, 0.1 for sgd"
        ),
    ] = None
    optimizer: Annotated[
        str,
        typer.Option(
            rich_help_panel=MODEL, metavar="adamw|sgd", help="adamw, with a one-cycle schedule, or plain sgd."
        ),
    ] = "adamw"
    patience: Annotated[
        int,
        typer.Option(rich_help_panel=MODEL, min=1, help="Stop after this many epochs without a better validation BCE."),
    ] = 10
    seed: Annotated[
        int, typer.Option(rich_help_panel=MODEL, min=0, help="The same seed gives the same run, bit for bit.")
    ] = 42
    device: Annotated[
        str,
        typer.Option(rich_help_panel=MODEL, metavar="cpu|cuda|cuda:N", help="The device that trains the networks."),
    ] = "cpu"
    out: Annotated[
        Optional[Path], typer.Option(metavar="DIR", help="The run folder to write.", show_default="runs/FILE")
    ] = None
    checkpoint: Annotated[
        str,
        typer.Option(rich_help_panel=LONG, metavar="5m", help="The time between checkpoints, for --resume; or off."),
    ] = "5m"
    resume: Annotated[
        Optional[bool],
        typer.Option(
            "--resume/--no-resume",
            rich_help_panel=LONG,
            help="Resume this very run, or accept it if it is finished; or start again.",
            show_default="resume if it is unfinished",
        ),
    ] = None
    on_nan: Annotated[
        str,
        typer.Option(
            "--on-nan",
            rich_help_panel=LONG,
            metavar="stop|skip",
            help="At a batch whose loss is not finite: stop, or skip the batch.",
        ),
    ] = "stop"
    memory: Annotated[
        Optional[str],
        typer.Option(
            rich_help_panel=LONG,
            metavar="8G",
            help="The memory for the table; a larger one is packed to a cache and read in blocks.",
            show_default="half of the machine's",
        ),
    ] = None
    cache: Annotated[
        Optional[Path],
        typer.Option(
            rich_help_panel=LONG,
            metavar="DIR",
            help="The folder of that cache, which is used again.",
            show_default="RUN.cache",
        ),
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
    def named_columns(self) -> list[str]:
        """The columns that options name."""
        single = [self.target, self.weight, self.group, self.time]
        return [*(name for name in single if name is not None), *self.exclude, *self.categorical]

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
