"""Made-up people: body, clothes and belongings, drawn so that many share their colours and no two share everything."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import ne
from typing import TypeVar

import numpy as np

from reidlib.synthetic.figure_kernels import BACK_PRINT, CHECKS, LOGO, OPEN, PLAIN, RINGS, STRIPES, YOKE

Option = TypeVar("Option")
Colour = tuple[float, float, float]

CLOTHES: dict[str, Colour] = {
    "black": (0.11, 0.11, 0.12), "charcoal": (0.24, 0.24, 0.26), "grey": (0.47, 0.47, 0.48),
    "light grey": (0.70, 0.70, 0.71), "white": (0.90, 0.90, 0.89), "navy": (0.12, 0.15, 0.28),
    "jeans": (0.27, 0.34, 0.48), "light jeans": (0.50, 0.58, 0.69), "blue": (0.22, 0.36, 0.62),
    "red": (0.66, 0.16, 0.16), "burgundy": (0.38, 0.12, 0.18), "green": (0.20, 0.38, 0.25),
    "olive": (0.36, 0.36, 0.22), "beige": (0.74, 0.67, 0.53), "brown": (0.40, 0.28, 0.20),
    "yellow": (0.80, 0.67, 0.24), "pink": (0.80, 0.55, 0.61), "purple": (0.38, 0.27, 0.47),
    "orange": (0.80, 0.44, 0.18),
}  # fmt: skip
UPPER_WEIGHTS = {
    "black": 14, "charcoal": 6, "grey": 9, "light grey": 6, "white": 13, "navy": 9, "light jeans": 4, "blue": 6,
    "red": 6, "burgundy": 3, "green": 4, "olive": 4, "beige": 5, "brown": 3, "yellow": 3, "pink": 5,
    "purple": 3, "orange": 3,
}  # fmt: skip
LOWER_WEIGHTS = {
    "black": 28, "navy": 17, "jeans": 18, "charcoal": 10, "grey": 8, "light jeans": 6, "beige": 6, "olive": 3,
    "white": 3, "brown": 2,
}  # fmt: skip
SHOE_WEIGHTS = {"black": 40, "white": 28, "brown": 14, "grey": 8, "red": 4, "blue": 3, "beige": 3}
BAG_WEIGHTS = {
    "black": 34, "navy": 12, "grey": 12, "brown": 12, "red": 10, "beige": 7, "blue": 6, "green": 4, "yellow": 3,
}  # fmt: skip
PATTERNS = {PLAIN: 24, RINGS: 17, STRIPES: 11, CHECKS: 14, LOGO: 9, YOKE: 13, OPEN: 8, BACK_PRINT: 4}
SLEEVES = {"long": 55, "short": 40, "none": 5}
LOWERS = {"trousers": 62, "shorts": 15, "skirt": 15, "long skirt": 8}
BAGS = {"none": 42, "backpack": 30, "shoulder": 18, "tote": 10}
HATS = {"none": 78, "cap": 14, "beanie": 8}
HAIRS = {"short": 52, "long": 28, "bob": 12, "bald": 4}
SKINS: dict[Colour, float] = {  # with their shares
    (0.93, 0.77, 0.68): 0.28, (0.87, 0.69, 0.58): 0.30, (0.78, 0.58, 0.45): 0.20, (0.60, 0.42, 0.31): 0.12,
    (0.38, 0.26, 0.20): 0.10,
}  # fmt: skip
HAIR_COLOURS: dict[Colour, float] = {
    (0.09, 0.08, 0.08): 0.40, (0.20, 0.14, 0.10): 0.28, (0.36, 0.25, 0.16): 0.16, (0.70, 0.56, 0.36): 0.10,
    (0.55, 0.54, 0.53): 0.06,
}  # fmt: skip
BRIGHT = ("white", "light grey", "beige", "yellow", "red", "pink", "light jeans")  # second colours on dark cloth
DARK = ("black", "navy", "charcoal", "burgundy", "green", "blue", "brown")
COAT_SHARE = 0.22
MIN_DIFFERENCES = 4  # attributes in which any two people of a set differ at least
TRIES = 400


@dataclass(frozen=True)
class Person:
    """What stays the same about a person in every picture; colours are RGB in 0..1, lengths shares of the height."""

    traits: tuple[object, ...]  # what tells people apart; see MIN_DIFFERENCES
    build: float  # width, 1 = average
    height: float  # 1 = average
    skin: Colour
    hair: str
    hair_colour: Colour
    upper: Colour
    upper_second: Colour
    pattern: int
    repeats: float
    sleeve: str
    coat: bool  # the upper garment reaches half-way down the thigh
    lower: str
    lower_colour: Colour
    shoes: Colour
    bag: str
    bag_colour: Colour
    bag_side: float  # +1 or -1
    hat: str
    hat_colour: Colour


def draw_people(count: int, *, generator: np.random.Generator) -> list[Person]:
    """Draw people of whom any two differ in MIN_DIFFERENCES attributes or more (two fewer if the wardrobe runs out)."""
    people: list[Person] = []
    for _ in range(count):
        person = _draw_person(generator)
        for attempt in range(TRIES):
            least = MIN_DIFFERENCES if attempt < TRIES // 2 else MIN_DIFFERENCES - 2
            if all(sum(map(ne, person.traits, other.traits)) >= least for other in people):
                break
            person = _draw_person(generator)
        people.append(person)
    return people


def _choose(weights: Mapping[Option, float], generator: np.random.Generator) -> Option:
    options = list(weights)
    shares = np.fromiter(weights.values(), dtype=np.float64)
    return options[int(generator.choice(len(options), p=shares / shares.sum()))]


def _cloth(name: str, generator: np.random.Generator) -> Colour:
    """A colour of the palette, a little lighter or darker from garment to garment."""
    colour = np.array(CLOTHES[name]) * generator.normal(1.0, 0.07) + generator.normal(0, 0.012, 3)
    red, green, blue = np.clip(colour, 0.04, 0.95).tolist()
    return red, green, blue


def _draw_names(generator: np.random.Generator) -> dict[str, str]:
    """What a person wears, by name; "upper" to "hat_colour" are names of colours."""
    palettes = {"upper": UPPER_WEIGHTS, "lower_colour": LOWER_WEIGHTS, "shoes": SHOE_WEIGHTS}
    names = {part: _choose(palette, generator) for part, palette in palettes.items()}
    names["second"] = str(generator.choice(BRIGHT if sum(CLOTHES[names["upper"]]) < 1.4 else DARK))
    kinds = {"sleeve": SLEEVES, "bag": BAGS, "hat": HATS, "lower": LOWERS, "hair": HAIRS}
    colours = {"bag_colour": BAG_WEIGHTS, "hat_colour": BAG_WEIGHTS}
    names |= {part: _choose(kind, generator) for part, kind in (kinds | colours).items()}
    if "skirt" in names["lower"] and names["hair"] in ("short", "bald"):
        names["hair"] = "long"
    return names


def _traits(names: dict[str, str], pattern: int, coat: bool) -> tuple[object, ...]:
    """The attributes that count as differences; what is not worn has no colour."""
    return (
        names["upper"],
        pattern,
        names["second"] if pattern != PLAIN else "",
        names["sleeve"] == "long",
        coat,
        names["lower"],
        names["lower_colour"],
        names["bag"] + (names["bag_colour"] if names["bag"] != "none" else ""),
        names["hat"] + (names["hat_colour"] if names["hat"] != "none" else ""),
        names["shoes"] in ("white", "beige"),
    )


def _draw_person(generator: np.random.Generator) -> Person:
    names, pattern = _draw_names(generator), _choose(PATTERNS, generator)
    if pattern == OPEN:
        names["sleeve"] = "long"
    coat = bool(names["sleeve"] == "long" and names["lower"] != "shorts" and generator.random() < COAT_SHARE)
    return Person(
        traits=_traits(names, pattern, coat),
        build=float(np.clip(generator.normal(1.08, 0.1), 0.88, 1.32)),
        height=float(np.clip(generator.normal(1.0, 0.035), 0.9, 1.08)),
        skin=_choose(SKINS, generator),
        hair=names["hair"],
        hair_colour=_choose(HAIR_COLOURS, generator),
        upper=_cloth(names["upper"], generator),
        upper_second=_cloth(names["second"], generator),
        pattern=pattern,
        repeats=float(generator.choice([4.0, 6.0, 8.0])),
        sleeve=names["sleeve"],
        coat=coat,
        lower=names["lower"],
        lower_colour=_cloth(names["lower_colour"], generator),
        shoes=_cloth(names["shoes"], generator),
        bag=names["bag"],
        bag_colour=_cloth(names["bag_colour"], generator),
        bag_side=float(generator.choice([-1.0, 1.0])),
        hat=names["hat"],
        hat_colour=_cloth(names["hat_colour"], generator),
    )
