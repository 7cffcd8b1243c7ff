"""The folders of a dataset of patches: which files are of which region, modality and domain.

::

    FLAIR-HUB   D006-2020_AERIAL_RGBI/FF-S1-14/D006-2020_AERIAL_RGBI_FF-S1-14_5-5.tif      region D006_FF-S1-14
    FLAIR#1     flair_aerial_train/D004_2021/Z10_UF/img/IMG_000123.tif                    region D004_Z10_UF
                flair_labels_train/D004_2021/Z10_UF/msk/MSK_000123.tif
    FLAIR#2     the same, and flair_sen_train/D004_2021/Z10_UF/sen/SEN2_sp_D004_2021-Z10_UF_data.npy

FLAIR#1 and FLAIR#2 have been published in two arrangements: as above, and by department
(``D004_2021/aerial/Z10_UF/IMG_000123.tif``). Domain and zone are known by their form, whatever folders lie between.

A region is a mosaic of patches that lie on one lattice of pixels. Historical images of a region carry the year
``195X``, so a region is known by its department and its name; its domain has the year of the labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from landweave.core.errors import ConfigError, InputError
from landweave.core.tables import Rows, Table
from landweave.core.words import counted

Layout = Literal["flair-hub", "flair-1", "flair-2"]

LABELS = ("AERIAL_LABEL-COSIA", "ALL_LABEL-LPIS")
"""Modalities of labels; FLAIR#1 and FLAIR#2 have the first alone, in a numbering of their own."""


def _departments(*numbers: int) -> frozenset[str]:
    return frozenset(f"D{number:03d}" for number in numbers)


TEST_DOMAINS: Mapping[Layout, frozenset[str]] = {
    "flair-hub": _departments(12, 15, 22, 26, 36, 61, 64, 68, 69, 71, 73, 75, 76, 83, 84, 85),
    "flair-1": _departments(12, 22, 26, 64, 68, 71, 75, 76, 83, 85),
    "flair-2": _departments(15, 22, 26, 36, 61, 64, 68, 69, 71, 84),
}
"""Departments of the official test splits (of FLAIR-HUB split 1); all others are training and validation."""

_DOMAIN_FOLDER = re.compile(r"(D\d{3})-(\d{4}|195X)_(.+)")
_OLD_DOMAIN = re.compile(r"D\d{3}_\d{4}")
_ZONE = re.compile(r"Z\d+_[A-Z]+")
_FLAIR_2 = ("flair_2_", "flair-2", "flair#2", "flair_sen")
_OLD_PATCH = re.compile(r"(IMG|MSK)_(\d+)\.tif")
_OLD_SERIES = re.compile(r"SEN2_sp_(D\d{3}_\d{4})-(Z\d+_[A-Z]+)_(data|masks|products)\.(npy|txt)")
_OLD_MODALITIES = {"data": "SENTINEL2_TS", "masks": "SENTINEL2_MSK-SC", "products": "SENTINEL2_PRODUCTS"}
_CENTROIDS = "*centroids_sp_to_patch.json"


@dataclass(frozen=True, kw_only=True)
class PatchRegion:
    """A region: the patches of each modality.

    Attributes
    ----------
    id
        Department and name: ``D006_FF-S1-14``.
    domain
        Department and year of the labels: ``D006-2020``.
    files
        Paths of its patches by modality, in order of their names.
    """

    id: str
    domain: str
    files: Mapping[str, tuple[str, ...]]

    @property
    def department(self) -> str:
        """``D006``."""
        return self.domain[:4]

    def patches(self, modality: str, *, without: str) -> list[str]:
        """Patches of a modality that another lacks: row and column, ``5-5``, or the number, ``000123``, in FLAIR#1.

        Parameters
        ----------
        modality, without
            One that they have, and the other.
        """
        some, other = (
            {Path(path).stem.rpartition("_")[2] for path in self.files[name]} for name in (modality, without)
        )
        return sorted(some - other)


@dataclass(frozen=True, kw_only=True)
class PatchDataset(Table):
    """A dataset of patches in its folder; shown as a table in a notebook.

    Attributes
    ----------
    folder
        Where it lies.
    layout
        How its folders are named, which decides numbering and splits too.
    regions
        By id, in order.
    """

    folder: Path
    layout: Layout
    regions: Mapping[str, PatchRegion]

    @property
    def rows(self) -> Rows:
        """The dataset as rows of a table; nothing of its pixels."""
        files = Counter[str]()
        for region in self.regions.values():
            files.update({modality: len(paths) for modality, paths in region.files.items()})
        return [
            ("dataset", f"{self.folder}, {self.layout}"),
            ("regions", f"{len(self.regions):,}"),
            ("domains", ", ".join(self.domains)),
            ("modalities", ", ".join(f"{name} ({counted(number, 'file')})" for name, number in sorted(files.items()))),
        ]

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """All domains, in order."""
        return tuple(sorted({region.domain for region in self.regions.values()}))

    def select(self, split: str = "test", domains: Collection[str] = (), *, training: bool = False) -> PatchDataset:
        """The regions of a split, or of some domains.

        Parameters
        ----------
        split
            ``test``, ``train`` (training and validation), or ``all``; of no account where domains are named.
        domains
            Domains or departments, as ``D006-2020`` or ``D006``.
        training
            Whether domains that models were trained on are wanted; they are refused otherwise.

        Raises
        ------
        ConfigError
            When there is no such split or domain, or a domain is one of training and ``training`` is not set.
        """
        if split not in ("test", "train", "all"):
            raise ConfigError(f"Split {split!r} was asked for: choose test, train or all.")
        known = {*self.domains, *(domain[:4] for domain in self.domains)}
        if unknown := sorted({*domains} - known):
            raise ConfigError(f"{self.folder} has no domain {', '.join(unknown)}: it has {', '.join(self.domains)}.")
        chosen = {name: region for name, region in self.regions.items() if self._is_in(region, split, domains)}
        trained = sorted({region.domain for region in chosen.values() if not self._is_test(region)})
        if trained and not training:
            raise ConfigError(
                f"{', '.join(trained)} are domains that models of {self.layout} were trained on: their scores say "
                "little of other ground. Ask for them with training_domains (--training-domains)."
            )
        if not chosen:
            raise ConfigError(
                f"{self.folder} has no region of split {split}: its domains are {', '.join(self.domains)}."
            )
        return PatchDataset(folder=self.folder, layout=self.layout, regions=chosen)

    def _is_in(self, region: PatchRegion, split: str, domains: Collection[str]) -> bool:
        if domains:
            return region.domain in domains or region.department in domains
        return split == "all" or self._is_test(region) == (split == "test")

    def _is_test(self, region: PatchRegion) -> bool:
        return region.department in TEST_DOMAINS[self.layout]

    def dates_file(self, modality: str) -> Path:
        """The GeoPackage with the dates of a series of FLAIR-HUB."""
        sensor = modality.removesuffix("_TS")
        return self.folder / "GLOBAL_ALL_MTD" / f"GLOBAL_{sensor}_MTD_DATES.gpkg"

    def centroids_file(self) -> Path:
        """The JSON of FLAIR#2 that places its patches in their series: in the folder, or beside what it lies in.

        Raises
        ------
        InputError
            When there is none.
        """
        above = (self.folder, *self.folder.resolve().parents[:2])
        for folder in (place for each in above for place in (each, each / "aux-data")):
            for path in sorted(folder.glob(_CENTROIDS)):
                return path
        raise InputError(
            f"{self.folder} has series of FLAIR#2, and no flair-2_centroids_sp_to_patch.json beside them says where "
            "its patches lie in them."
        )


def open_dataset(folder: str | Path) -> PatchDataset:
    """The dataset in a folder, by the names of its folders and files; no file is opened.

    Parameters
    ----------
    folder
        That of FLAIR-HUB, with ``D006-2020_AERIAL_RGBI`` and its like in it; or one above the ``D004_2021`` of FLAIR#1
        or FLAIR#2: of all, or of one of their parts, such as ``flair#2-test``.

    Raises
    ------
    InputError
        When there is no folder, or nothing of these layouts in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Dataset {root} does not exist, or is no folder.")
    found: dict[str, dict[str, list[str]]] = {}
    domains: dict[str, str] = {}
    patches, layout = list(_hub_patches(root)), "flair-hub"
    if not patches:
        patches = list(_old_patches(root))
        names = (root.name, *(path.name for path in root.iterdir()))
        has_series = any(modality == "SENTINEL2_TS" for _, _, modality, _ in patches)
        layout = "flair-2" if has_series or any(name.startswith(_FLAIR_2) for name in names) else "flair-1"
    for region, domain, modality, path in patches:
        found.setdefault(region, {}).setdefault(modality, []).append(path)
        if modality in LABELS or region not in domains:
            domains[region] = domain
    if not found:
        raise InputError(
            f"{root} holds no patches of FLAIR-HUB (folders such as D006-2020_AERIAL_RGBI), nor of FLAIR#1 or FLAIR#2 "
            "(D004_2021/Z10_UF/img/IMG_000123.tif, or D004_2021/aerial/Z10_UF/IMG_000123.tif)."
        )
    regions = {
        name: PatchRegion(
            id=name,
            domain=domains[name],
            files={modality: tuple(sorted(paths)) for modality, paths in sorted(found[name].items())},
        )
        for name in sorted(found)
    }
    return PatchDataset(folder=root, layout=layout, regions=regions)  # type: ignore[arg-type]


def patch_id(path: str, modality: str) -> str:
    """The id of a patch of FLAIR-HUB, as its metadata has it.

    Parameters
    ----------
    path
        Of its file.
    modality
        Of the file.

    >>> patch_id("x/D006-2020_SENTINEL2_TS_FF-S1-14_5-5.tif", "SENTINEL2_TS")
    'D006-2020_FF-S1-14_5-5'
    """
    return Path(path).stem.replace(f"_{modality}_", "_", 1)


def _hub_patches(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Region, domain, modality and path of every patch of FLAIR-HUB."""
    for folder in sorted(root.iterdir()):
        match = _DOMAIN_FOLDER.fullmatch(folder.name)
        if match and folder.is_dir():
            department, year, modality = match.groups()
            for path in folder.glob("*/[!.]*.tif"):  # macOS puts a file ._NAME beside each
                yield f"{department}_{path.parent.name}", f"{department}-{year}", modality, str(path)


def _old_patches(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """The same of FLAIR#1 and FLAIR#2, and the arrays of the latter's series."""
    for path in root.rglob("*.tif"):
        match = _OLD_PATCH.fullmatch(path.name)
        domain, zone = (_nearest(path, form) for form in (_OLD_DOMAIN, _ZONE))
        if match and domain and zone:
            modality = "AERIAL_RGBI" if match[1] == "IMG" else LABELS[0]
            yield f"{domain[:4]}_{zone}", domain.replace("_", "-"), modality, str(path)
    for path in root.rglob("SEN2_sp_*"):
        if match := _OLD_SERIES.fullmatch(path.name):
            domain, zone, content, _ = match.groups()
            yield f"{domain[:4]}_{zone}", domain.replace("_", "-"), _OLD_MODALITIES[content], str(path)


def _nearest(path: Path, form: re.Pattern[str]) -> str:
    """The innermost folder of a path whose name has a form; empty for none."""
    return next((name for name in reversed(path.parts[:-1]) if form.fullmatch(name)), "")
