"""The true accuracy of the architecture that a one-shot search would derive now, after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nasreg.evaluators import Table
from nasreg.events import EpochEnded, Event
from nasreg.specs import Architecture, RunSpec, SearchSpaceSpec
from nasreg_nasbench201.config import DATASETS
from nasreg_nasbench201.evaluator import DEFAULT_DATASET, dataset_of
from nasreg_nasbench201.strings import architecture_key
from nasreg_nasbench201.table import SIMPLE_EPOCHS, find_table


class TableReader:
    """Looks architectures up in the table of a data set.

    Args:
        dataset: ``cifar10``, ``cifar100`` or ``imagenet16-120``.
        path: A table of the user's own; see the option ``path`` of the evaluator.
        epochs: Epochs of the trainings.

    Raises:
        ConfigError: The table cannot be read.
    """

    def __init__(self, dataset: str = DEFAULT_DATASET, path: str | None = None, epochs: int = SIMPLE_EPOCHS) -> None:
        self.dataset = dataset
        self.table: Table = find_table(dataset, epochs, path)

    def accuracy(self, architecture: Architecture) -> float | None:
        """Return the validation accuracy of an architecture, a share; None if the table does not have it."""
        row = self.table.row(architecture_key(architecture))
        return None if row is None else float(self.table.columns["accuracy"][row])

    def rank(self, accuracy: float) -> int:
        """Return the rank of an accuracy in the table, 1 for the best."""
        return 1 + int((self.table.columns["accuracy"] > accuracy).sum())


class TrueAccuracy(TableReader):
    """A callback for one-shot searches: shows what the table says of the present architecture, after each epoch.

    The search shows and records it in any case (for the data set of the search, or CIFAR-10); this callback is for
    other data sets or tables, and for programs.

    Args:
        dataset: As for ``TableReader``.
        path: As for ``TableReader``.
        epochs: As for ``TableReader``.
        show: Shows a line of text.

    Attributes:
        history: The accuracy after each epoch, None for an architecture that the table does not have.

    Raises:
        ConfigError: The table cannot be read.

    Example:
        >>> nasreg.search("nasbench201", data, "darts", callbacks=[TrueAccuracy("cifar100")])
    """

    def __init__(
        self,
        dataset: str = DEFAULT_DATASET,
        path: str | None = None,
        epochs: int = SIMPLE_EPOCHS,
        show: Callable[[str], object] = print,
    ) -> None:
        super().__init__(dataset, path, epochs)
        self.show = show
        self.history: list[float | None] = []

    def __call__(self, event: Event) -> None:
        """Show the accuracy after an epoch."""
        if not isinstance(event, EpochEnded):
            return
        found = self.accuracy(event.architecture)
        self.history.append(found)
        text = "not in the table"
        if found is not None:
            text = f"{found:.2%}, rank {self.rank(found):,} of {len(self.table):,}"
        self.show(f"epoch {event.epoch}: accuracy on {DATASETS[self.dataset]} of the architecture: {text}")


def diagnostics(run: RunSpec, space: SearchSpaceSpec) -> Callable[[Architecture], Mapping[str, float]]:
    """Return what gives the figures of an architecture that a one-shot search shows after each epoch."""
    del space
    reader = TableReader(dataset_of(run))
    title = f"table accuracy on {DATASETS[reader.dataset]} (%)"

    def figures(architecture: Architecture) -> Mapping[str, float]:
        found = reader.accuracy(architecture)
        return {} if found is None else {title: round(100 * found, 3), "table rank": reader.rank(found)}

    return figures
