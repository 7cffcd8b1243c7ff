"""The legends of the FLAIR field: CoSIA, FLAIR#1's numberings, and the level 1 of the crop register (LPIS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from landweave.core.errors import CardError
from landweave.core.legend import LandClass, Legend

_COSIA_TRAINED = 15
"""CoSIA codes from here on had weight 0 in the published training."""

_COSIA = (
    ("building", "bâtiment", "#db0e9a"),
    ("greenhouse", "serre", "#9999ff"),
    ("swimming pool", "piscine", "#3de6eb"),
    ("impervious surface", "zone imperméable", "#f80c00"),
    ("pervious surface", "zone perméable", "#938e7b"),
    ("bare soil", "sol nu", "#a97101"),
    ("water", "eau", "#1553ae"),
    ("snow", "neige", "#ffffff"),
    ("herbaceous vegetation", "surface herbacée", "#55ff00"),
    ("agricultural land", "culture", "#fff30d"),
    ("plowed land", "terre labourée", "#e4df7c"),
    ("vineyard", "vigne", "#660082"),
    ("deciduous", "feuillu", "#46e483"),
    ("coniferous", "conifère", "#194a26"),
    ("brushwood", "broussaille", "#f3a60d"),
    ("clear cut", "coupe", "#8ab3a0"),
    ("ligneous", "ligneux", "#c5dc42"),
    ("mixed", "mixte", "#6b714f"),
    ("undefined", "indéterminé", "#000000"),
)

_FLAIR1 = (
    "building",
    "pervious surface",
    "impervious surface",
    "bare soil",
    "water",
    "coniferous",
    "deciduous",
    "brushwood",
    "vineyard",
    "herbaceous vegetation",
    "agricultural land",
    "plowed land",
    "swimming pool",
    "snow",
    "clear cut",
    "mixed",
    "ligneous",
    "greenhouse",
    "other",
)
"""FLAIR#1 counts its labels from 1; output channel ``i`` is label ``i + 1``."""

_LPIS = (
    ("grasses", "herbages", "#92d050"),
    ("wheat", "blé", "#d7e600"),
    ("barley", "orge", "#e0e000"),
    ("maize", "maïs", "#fff100"),
    ("other cereals", "autres céréales", "#ffff00"),
    ("rice", "riz", "#e8e8e8"),
    ("flax/hemp/tobacco", "lin/chanvre/tabac", "#dceaf7"),
    ("sunflower", "tournesol", "#d29ead"),
    ("rapeseed", "colza", "#d29ed0"),
    ("other oilseed crops", "autres oléagineux", "#ffbe99"),
    ("soy", "soja", "#ffc000"),
    ("other protein crops", "autres protéagineux", "#ff9000"),
    ("fodder legumes", "légumineuses fourragères", "#009999"),
    ("beetroots", "betteraves", "#808000"),
    ("potatoes", "pommes de terre", "#a7a700"),
    ("other arable crops", "autres grandes cultures", "#89896d"),
    ("vineyard", "vigne", "#f2cfee"),
    ("olive groves", "oliveraies", "#6f6633"),
    ("fruit orchards", "vergers à fruits", "#ac8141"),
    ("nut orchards", "vergers à fruits à coque", "#996633"),
    ("other permanent crops", "autres cultures permanentes", "#80c1d7"),
    ("mixed crops", "cultures mixtes", "#000000"),
    ("background", "fond", "#000000"),
)

COSIA = Legend(
    name="cosia",
    classes=tuple(
        LandClass(code=code, name=name, name_fr=name_fr, color=color, trained=code < _COSIA_TRAINED)
        for code, (name, name_fr, color) in enumerate(_COSIA)
    ),
)
"""Land cover as FLAIR-HUB has it, codes 0 to 18; 15 to 18 were never trained."""

LPIS = Legend(
    name="lpis",
    classes=tuple(
        LandClass(code=code, name=name, name_fr=name_fr, color=color)
        for code, (name, name_fr, color) in enumerate(_LPIS)
    ),
)
"""Crops of the register's level 1, codes 0 to 22."""

_OTHER = LandClass(code=len(_FLAIR1), name="other", name_fr="autre", color="#000000")
_BY_NAME = {each.name: each for each in COSIA.classes} | {_OTHER.name: _OTHER}


def _flair1(name: str, labels: tuple[str, ...], untrained: tuple[str, ...] = ()) -> Legend:
    classes = (
        replace(_BY_NAME[label], code=code, trained=label not in untrained) for code, label in enumerate(labels, 1)
    )
    return Legend(name=name, classes=tuple(classes))


LEGENDS: Mapping[str, Legend] = MappingProxyType(
    {
        legend.name: legend
        for legend in (
            COSIA,
            LPIS,
            _flair1("flair1-12", _FLAIR1[:12]),
            _flair1("flair1-13", (*_FLAIR1[:12], "other")),  # FLAIR#1's baseline: labels 13 to 19 merged
            _flair1("flair1-15", _FLAIR1[:15]),
            _flair1("flair1-19", _FLAIR1),
            # Of 19 outputs some had weight 0 in training: published as models of 12 and of 15 classes.
            _flair1("flair1-19-trained-12", _FLAIR1, _FLAIR1[12:]),
            _flair1("flair1-19-trained-15", _FLAIR1, ("clear cut", "mixed", "ligneous", "other")),
        )
    }
)
"""Every legend that a card may name."""


def find_legend(name: str) -> Legend:
    """The legend of that name.

    Raises
    ------
    CardError
        When there is none; those there are are listed.
    """
    if name not in LEGENDS:
        raise CardError(f"There is no legend {name!r}; a card may name {', '.join(LEGENDS)}, or list its own classes.")
    return LEGENDS[name]
