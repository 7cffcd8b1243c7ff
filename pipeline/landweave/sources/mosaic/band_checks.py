"""What the files of a mosaic say of their bands, compared with how the settings take them: refused, or noted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from landweave.core.timeseries import is_number
from landweave.sources.mosaic.listing import Product
from landweave.sources.mosaic.spec import MosaicSpec
from landweave.sources.raster_facts import NEGATIVE, RasterFacts

Facts = Mapping[str, RasterFacts]

_COLOURS = {"R": "red", "G": "green", "B": "blue"}
"""Of bands whose own name is no colour."""

_FALSE_COLOURS = {"NIR": "red", "R": "green", "G": "blue"}
"""What files of near infrared, red and green, made to be looked at, call their bands."""

_SPOKEN = {
    "rededge": "red.?edge",
    "nir": r"\bnir\b|near.?infra",
    "alpha": r"\balpha\b",
    **{colour: rf"\b{colour}\b" for colour in _COLOURS.values()},
}
"""Patterns of descriptions, the first that matches."""

_METRES = re.compile("m|met(re|er)s?", re.IGNORECASE)


def band_problems(spec: MosaicSpec, products: Sequence[Product], facts: Facts) -> Iterator[str]:
    """Why the bands cannot be read.

    Absent, mixed or complex dtypes, palettes, a scale of 0, feet, tags of a VRT alone, another order of the colours
    than in the other files, blocks that were never written.

    Parameters
    ----------
    spec
        The settings.
    products, facts
        The files, and what they say of themselves by path.
    """
    yield from dict.fromkeys(line for product in products for line in _vrt_problems(spec, product, facts))
    for product in products:
        yield from _order_problems(product, [facts[path] for path in product.paths])
    first = facts[products[0].paths[0]]
    for product, each in _files(products, facts):
        missing = [f"{name!r} is band {number}" for name, number in product.bands.items() if number > each.count]
        if missing:
            yield f"{each.name}: {', '.join(missing)}, the file has {each.count}."
        if each.dtype != first.dtype or each.dtype == "mixed":
            yield f"{each.name} holds {each.dtype}, {first.name} {first.dtype}: convert one, or give two inputs."
        if each.dtype.startswith("complex"):
            yield f"{each.name} holds {each.dtype}, and real numbers are read: convert it to amplitude or intensity."
        yield from _unwritten_problems(spec, product, each)
        for name, number in product.bands.items():
            if number <= each.count:
                yield from (f"{each.name}: {name!r} {problem}." for problem in _number_problems(spec, each, number - 1))


def _unwritten_problems(spec: MosaicSpec, product: Product, facts: RasterFacts) -> Iterator[str]:
    """Blocks that were never written and would be measurements: GDAL reads them as the file's own tag, or as 0.

    A border does not say what they are: a hole within a tile reaches no edge.
    """
    if not facts.unwritten or any(facts.masks) or facts.alpha not in (0, *product.bands.values()):
        return
    for tag in (facts.nodata[number - 1] for number in product.bands.values() if number <= facts.count):
        read, nodata = tag or 0.0, tag if spec.nodata is None else spec.nodata
        if np.isfinite(read) and not _same(read, nodata):
            yield (
                f"{facts.name}: {facts.unwritten} of its {facts.blocks} blocks were never written, and would be read "
                f"as {read:g}. Fetch it again, or set nodata: {read:g} where there is no imagery."
            )
            return


def _order_problems(product: Product, files: Sequence[RasterFacts]) -> Iterator[str]:
    """Files that call a band of one number by other colours than the rest: red here and blue there, one is not red."""
    for name, number in product.bands.items():
        own, false = _COLOURS.get(name, name.lower()), _FALSE_COLOURS.get(name) if "NIR" in product.bands else None
        called = {_called(each, number): each for each in reversed(files) if number <= each.count}
        others = [
            role for role in called if role in (*_COLOURS.values(), "nir", "rededge") and role not in (own, false)
        ]
        if own in called and others:
            yield (
                f"{called[others[0]].name} calls band {number} {others[0]}, {called[own].name} {own}, and {name} is "
                f"band {number} of all: write bands in one order (gdal_translate -b), or correct what they are called "
                f"(gdal_edit.py -colorinterp_{number} {own})."
            )


def _vrt_problems(spec: MosaicSpec, product: Product, facts: Facts) -> Iterator[str]:
    """What a VRT alone says of the numbers of its files, whose own tags are read."""
    for vrt in product.vrts:
        for each in (facts[path] for path in vrt.files if path in facts and vrt.number <= facts[path].count):
            place = vrt.number - 1
            tag, dtype = each.nodata[place], each.dtypes[place]
            values = [value for value in vrt.nodata if _may_occur(dtype, value) and not _same(value, tag)]
            if values and spec.nodata is None:
                own = "none" if tag is None else f"{tag:g}"
                value = f"{values[0]:g}"
                yield f"{vrt.path} states nodata {value}, its file {each.name} {own}: set nodata: {value}, or another"
                break
            if vrt.scale and vrt.scale != each.scale_of(vrt.number) and spec.stated_scale is None:
                yield (
                    f"{vrt.path} states {_times(vrt.scale)}, its file {each.name} "
                    f"{_times(each.scale_of(vrt.number))}: set scale and offset"
                )
                break


def _times(scale: tuple[float, float]) -> str:
    return f"x {scale[0]:g} {scale[1]:+g}"


def _may_occur(dtype: str, value: float) -> bool:
    """Whether a pixel may equal ``value`` and pass for a measurement: no NaN or extreme float does anyway."""
    return bool(is_number(np.array(value))) and _can_hold(dtype, value)


def _same(value: float, tag: float | None) -> bool:
    """Whether a value means a tag: the text of a VRT may be shortened."""
    return tag is not None and bool(np.isclose(value, tag, rtol=1e-6, atol=0))


def _number_problems(spec: MosaicSpec, facts: RasterFacts, place: int) -> Iterator[str]:
    """Why the numbers of one band are no values."""
    if facts.colours[place] == "palette" and not spec.palettes:
        yield (
            f"is band {place + 1}, whose numbers are entries of a palette, no brightness: expand it (gdal_translate "
            "-expand rgb), or open it by open_mosaic with resampling='nearest'"
        )
    if spec.stated_scale is not None:
        return
    if facts.colours[place] == NEGATIVE and not spec.palettes and not spec.as_float:
        yield (
            "is a negative, whose 0 is white (photometric MINISWHITE): set scale: -1 and its number of black as offset "
            "(255 of bytes), or scale: 1 where the numbers are brightness all the same"
        )
    scale, offset, unit = facts.scales[place], facts.offsets[place], facts.units[place]
    if not scale or not np.isfinite((scale, offset)).all():
        yield f"has tags of scale {scale:g} and offset {offset:g}: state scale instead"
    if spec.as_float and unit and not _METRES.fullmatch(unit):
        yield f"is in {unit!r}, and metres are read: state scale, such as 0.3048 for feet"


def band_notes(spec: MosaicSpec, products: Sequence[Product], facts: Facts) -> Iterator[str]:
    """What a person should know of the bands, a line each.

    Parameters
    ----------
    spec
        The settings.
    products, facts
        The files, and what they say of themselves by path.
    """
    if unused := [name for name in spec.bands if name not in spec.given]:
        yield f"{', '.join(unused)}: not read as a band, for the model takes {', '.join(spec.given)}"
    for product in products:
        yield from _role_notes(product, [facts[path] for path in product.paths], spec.given)
        yield from _difference_notes(spec, product, [facts[path] for path in product.paths])
    files = [each for _, each in _files(products, facts)]
    if models := [each for each in files if each.rpc]:
        yield (
            f"{len(models)} of {len(files)} files have rational polynomials beside their transform, {models[0].name} "
            "the first: is it an orthoimage? One that is not lies beside its place where the ground is not flat"
        )
    yield from _nodata_notes(spec, files)
    yield from _lossy_notes(spec, files)


def _files(products: Sequence[Product], facts: Facts) -> Iterator[tuple[Product, RasterFacts]]:
    return ((product, facts[path]) for product in products for path in product.paths)


def _role_notes(product: Product, files: Sequence[RasterFacts], given: Iterable[str]) -> Iterator[str]:
    """Bands that are taken as something else than what the file calls them."""
    for name, number in product.bands.items():
        called: dict[str, list[RasterFacts]] = {}
        for each in files:
            called.setdefault(_called(each, number), []).append(each)
        for role, those in called.items():
            first = f"{len(those)} of {len(files)} files call {role}"
            if name not in given:
                if role == "alpha":
                    yield (
                        f"{name} is band {number}, which {first} and which is no mask here, {those[0].name} the first. "
                        f"Where it is one, leave {name} out of bands"
                    )
            elif role not in ("", _COLOURS.get(name, name.lower())):
                usual = "NIR" in product.bands and _FALSE_COLOURS.get(name) == role
                reason = ", as images in false colour do" if usual else ""
                effect = ", and marks nothing as nodata" if role == "alpha" else ""
                yield (f"{name} is read from band {number}, which {first}{reason}{effect}, {those[0].name} the first")


def _called(facts: RasterFacts, number: int) -> str:
    """The colour that a file says its band is, by its description or its colour interpretation; empty for a grey."""
    text, role = facts.descriptions[number - 1], facts.colours[number - 1]
    spoken = (each for each, pattern in _SPOKEN.items() if re.search(pattern, text, re.IGNORECASE))
    return next(spoken, "" if role in ("gray", "undefined", "palette", NEGATIVE) else role.lower())


def _difference_notes(spec: MosaicSpec, product: Product, files: Sequence[RasterFacts]) -> Iterator[str]:
    """Files of one product that have other bands, by number or colour, or other tags of scale and offset."""
    first = files[0]
    if others := [each for each in files if each.colours != first.colours]:
        named = (f"{each.name} {', '.join(each.colours)}" for each in (others[0], first))
        yield f"{len(others)} of {len(files)} files have other bands: {'; '.join(named)}"
    for name, number in product.bands.items() if spec.stated_scale is None else ():
        if others := [each for each in files if each.scale_of(number) != first.scale_of(number)]:
            named = (f"{each.name} {_times(each.scale_of(number))}" for each in (others[0], first))
            yield (
                f"{len(others)} of {len(files)} files have other tags of scale and offset in {name}, each is read by "
                f"its own: {'; '.join(named)}. Where a tag is lost or wrong, set scale and offset"
            )
            return


def _nodata_notes(spec: MosaicSpec, files: Sequence[RasterFacts]) -> Iterator[str]:
    """Nodata values that no pixel can equal."""
    if spec.nodata is not None:
        held = [each for each in files if not _can_hold(each.dtypes[0], spec.nodata)]
        if held and np.isfinite(spec.nodata):
            yield f"nodata {spec.nodata:g} (setting) cannot occur in {held[0].dtypes[0]}: no pixel is nodata by it"
        return
    tagged = [each for each in files if each.impossible_nodata]
    if tagged:
        yield (
            f"{len(tagged)} files are tagged nodata {' and '.join(tagged[0].impossible_nodata)}, which cannot occur in "
            f"{tagged[0].dtypes[0]}: no pixel is nodata by it, {tagged[0].name} the first. Where pixels without data "
            "hold another number, set nodata"
        )


def _lossy_notes(spec: MosaicSpec, files: Sequence[RasterFacts]) -> Iterator[str]:
    """Nodata values in files whose compression changes numbers."""
    stated = [each for each in files if each.lossy and (spec.nodata is not None or set(each.nodata) != {None})]
    if stated and not spec.nodata_border:
        yield (
            f"{len(stated)} of {len(files)} files have a nodata value and a compression that changes numbers: beside "
            f"what is nodata a fringe is only nearly so, and is mapped, {stated[0].name} the first. nodata_border "
            "finds dark ones at a tile's edge, a mask holds any (nearblack -setmask)"
        )


def _can_hold(dtype: str, value: float) -> bool:
    if np.dtype(dtype).kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
