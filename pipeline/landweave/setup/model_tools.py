"""What one asks of the models themselves: which there are, what a card says, what a model is, and cards as files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landweave.config.load import load_config
from landweave.core.errors import CardError, ConfigError
from landweave.core.grid import Bounds
from landweave.core.lattice import Extent
from landweave.mapping.run import MapSetup
from landweave.models.cards.card import ModelCard
from landweave.models.cards.card_file import card_content, write_card, write_new
from landweave.models.cards.registry import card_path, find_card, list_cards
from landweave.setup.map_setup import set_up_map

_JOINED = "\N{NO-BREAK SPACE}"
"""Stands for the spaces inside a class's name, so that no line ends there."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Cards that come with the package."""

    cards: tuple[ModelCard, ...]

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """Name, millions of parameters and mIoU in percent as published (empty where not), and title of each."""
        return [
            (card.name, _fact(card, "parameters_millions"), _fact(card, "miou_percent"), card.title)
            for card in self.cards
        ]

    def __str__(self) -> str:
        rows = [("name", "Mparam", "mIoU", "what it is"), *self.rows]
        width = max(len(row[0]) for row in rows)
        return "\n".join(f"{name:<{width}}  {size:>6}  {miou:>5}  {title}" for name, size, miou, title in rows)


def _fact(card: ModelCard, name: str) -> str:
    return str(card.facts.get(name, ""))


def list_models() -> Listing:
    """Every card that comes with the package."""
    return Listing(cards=tuple(find_card(name) for name in list_cards()))


def show_model(name: str) -> str:
    """The card of that name, or in that file, as it is written: YAML; what follows from it comes before, as comments.

    Raises
    ------
    CardError
        When there is none, or it is wrong.
    """
    card, path = find_card(name), card_path(name)
    return "".join(f"# {line}\n" for line in _derived(card, path)) + "\n" + path.read_text(encoding="utf-8")


def _derived(card: ModelCard, path: Path) -> Iterator[str]:
    """What a card means without saying it."""
    yield f"{path}"
    yield f"sha256 of its meaning: {card.sha256}"
    if card.unit_px > 1:
        yield f"windows, overlaps and blocks are multiples of {card.unit_px} px"
    for name, output in card.outputs.items():
        told = (f"{each.code} {each.name}{'' if each.trained else '*'}" for each in output.legend.classes)
        classes = ", ".join(each.replace(" ", _JOINED) for each in told)
        never = "" if all(output.legend.trained) else " (* never trained, left out of the decision)"
        for line in textwrap.wrap(f"{name}: {classes}{never}", 110, subsequent_indent="  "):
            yield line.replace(_JOINED, " ")


def inspect_model(
    name: str,
    *,
    window: int | None = None,
    weights: str | Path | None = None,
    imagery: str | Path | None = None,
) -> Any:
    """Parameters, operations, memory, strides and reach of a model; with imagery, what moving its windows changes.

    Parameters
    ----------
    name
        Of a card, or the path of one.
    window
        Base pixels a side; the card's by default.
    weights
        Their file; the card's by default.
    imagery
        A run's configuration, whose inputs, area and grid are read. Its model is not the one that answers.

    Returns
    -------
    landweave.models.inspection.inspect.Inspection

    Raises
    ------
    LandweaveError
        When the model cannot be built, the weights do not fit, or the imagery cannot be read.
    """
    from landweave.models.inspection.inspect import inspect  # torch takes seconds to import

    found = inspect(find_card(name), window, weights=None if weights is None else Path(weights))
    if imagery is None:
        return found
    return found.with_placements(_compare_placements(_map_of(name, found.window, weights, imagery)))


def _map_of(name: str, window: int, weights: str | Path | None, imagery: str | Path) -> MapSetup:
    """The run that would map the imagery with that model."""
    card = str(Path(name).absolute()) if Path(name).suffix in (".yaml", ".yml") else name
    asked = {
        **{"model.card": card, "model.weights": None, "model.sha256": None},
        **({"model.weights": str(Path(weights).absolute())} if weights else {}),
        **{"windows.size": window, "windows.overlap": None},
    }
    return set_up_map(load_config(imagery, overrides=asked))


def _compare_placements(made: MapSetup) -> Any:
    from landweave.models.inspection.placement_consistency import compare_placements

    job = made.job

    return compare_placements(
        job.model.open(),
        job.window,
        _imagery(made),
        lattice=job.blending.lattice,
        legend=job.legend,
        batch_size=job.model.batch_size,
    )


def _imagery(made: MapSetup) -> Extent:
    """Base pixels inside the bounds of every required input, and of the area."""
    grid = made.job.grid
    extent = grid.extent if made.job.area is None else made.template.grid.refine(made.job.factor).extent
    for item in made.job.inputs.values():
        bounds = item.source.bounds(grid) if item.required else None
        if bounds is not None:
            extent = extent.intersect(grid.covering(bounds))
    return extent


def export_model(
    name: str,
    *,
    stac: str | Path | None = None,
    program: str | Path | None = None,
    weights: str | Path | None = None,
    bounds: Bounds | None = None,
) -> list[Path]:
    """Write a model for others: a STAC item, a program of `torch.export` with a card beside it, or both.

    Parameters
    ----------
    name
        Of a card, or the path of one.
    stac, program
        New files: the item (``.json``), the program (``.pt2``).
    weights
        Their file; the card's by default. A program needs them.
    bounds
        West, south, east and north in degrees of where the model is meant to be used.

    Returns
    -------
    list of pathlib.Path
        What was written.

    Raises
    ------
    ConfigError
        When nothing was asked for, or a program without weights.
    CardError
        When the model does not allow it, or a file is there already or cannot be written.
    """
    from landweave.models.export import export_program
    from landweave.models.stac import export_stac

    card = find_card(name)
    file = weights or card.weights.file
    if stac is None and program is None:
        raise ConfigError("Nothing to export: name the file of a STAC item, of a program, or both.")
    if program is not None and file is None:
        raise ConfigError(f"A program holds the weights of {card.name}: give their file.")
    cards = (Path(program).with_suffix(".yaml"),) if program is not None else ()
    for path in (*cards, *((Path(stac),) if stac is not None else ())):
        if path.exists():
            raise CardError(f"{path} is there already: name another file, or remove it.")
    written: list[Path] = []
    if program is not None and file is not None:
        path = Path(program)
        made = export_program(card, Path(file), path)
        write_card(card_content(made), path.with_suffix(".yaml"))
        written += [path, path.with_suffix(".yaml")]
    if stac is not None:
        item = export_stac(card, weights=Path(file) if file else None, bounds=bounds)
        write_new(Path(stac), json.dumps(item, indent=2, ensure_ascii=False) + "\n")
        written.append(Path(stac))
    return written


def new_card(config: str | Path, weights: str | Path, path: str | Path | None = None) -> Path:
    """Write the card of a model that was trained with the public tools, beside its weights by default.

    Parameters
    ----------
    config
        The training's configuration: a YAML file, or the folder of several.
    weights
        What it gave.
    path
        Of the new card.

    Returns
    -------
    pathlib.Path
        What was written.

    Raises
    ------
    CardError
        When the configuration describes no network of ours, or the card is there already.
    WeightsError
        When the weights do not fit the configuration.
    """
    from landweave.models.flair_import.card_from_config import card_from_flair_config

    content = card_from_flair_config(Path(config), Path(weights))
    written = Path(path) if path else Path(weights).with_suffix(".yaml")
    if written.absolute().parent == Path(weights).absolute().parent:
        content["weights"]["file"] = Path(weights).name  # the two may move together
    write_card(content, written, f"Written from the training configuration {Path(config).name}: check it once.")
    return written
