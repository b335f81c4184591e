"""Units of measure and what they are worth: "miles per hour", "cm²", "$", "apples".

A unit has a dimension and a factor to its base unit: 720 minutes are 12 hours, 12 minutes are not. What
is counted (apples, people) is a dimension of its own. Names are whole words from a list: whatever else
stands beside a number is no unit, and the number is then not alone.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import regex

MEASURES = {
    "time": "second sec s=1 millisecond ms=1/1000 minute min=60 hour hr h=3600 day=86400 week=604800",
    "months": "month=1 year yr=12 decade=120 century=1200",
    "length": "meter metre m=1 millimeter millimetre mm=1/1000 centimeter centimetre cm=1/100"
    " kilometer kilometre km=1000 inch=127/5000 foot feet ft=381/1250 yard yd=1143/1250"
    " mile mi=201168/125",
    "mass": "gram gramme g=1 milligram mg=1/1000 kilogram kilo kg=1000 ton tonne=1000000"
    " pound lb=45359237/100000 ounce oz=45359237/1600000",
    "volume": "liter litre l=1 milliliter millilitre ml=1/1000",
    "gallons": "gallon gal=1 quart=1/4 pint=1/8 cup=1/16",
    "data": "byte=1 kilobyte kb=1000 megabyte mb=1000000 gigabyte gb=1000000000",
    "dollars": "$ us$ dollar usd=1 cent ¢=1/100",
    "euros": "€ euro eur=1",
    "sterling": "£ gbp=1 pence penny=1/100",
    "yen": "¥ yen jpy=1",
    "rupees": "₹ rupee rs inr=1",
    "francs": "chf=1",
    "yuan": "yuan cny=1",
    "australian dollars": "aud=1",
    "canadian dollars": "cad=1",
    "percent": "% percent pct=1",
    "degrees": "° degree deg=1",
    "celsius": "°c celsius=1",
    "fahrenheit": "°f fahrenheit=1",
    "energy": "joule j=1 kilojoule kj=1000",
    "power": "watt w=1 kilowatt kw=1000",
    "calories": "calorie cal=1",
    "newtons": "newton n=1",
    "volts": "volt v=1",
}
NOUNS = """
animal apple bag ball balloon banana bead bike bird block book bottle bowl box boy brick bus
cake candle candy car card cat chair chicken child choice class coin cookie cow customer dog
doll dress duck egg employee fish flower friend game girl glass goat grape guest hat horse house
item job kid lap leaf lemon letter line man marble meal member muffin nail orange pack package
page pair pea peach pear pen pencil penny person piece pie pizza plant player point potato
present problem puzzle question rabbit room rose sandwich seat sheep shell shirt shoe sibling
slice song stamp star step sticker story student team teacher ticket tile time toy tree triangle
trip way woman word worker
"""
COUNTED = frozenset(regex.findall(r"\w+", NOUNS))
PLURALS = {"feet": "foot", "children": "child", "men": "man", "women": "woman", "people": "person",
           "leaves": "leaf", "pennies": "penny", "centuries": "century"}  # fmt: skip
SCALES = {
    12: "dozen",
    10**2: "hundred hundreds hundert",
    10**3: "thousand thousands tausend tsd mille mil тысяча тысячи тысяч тыс",
    10**5: "lakh lakhs",
    10**6: "million millions mn mln mio millionen millón millones milhão milhões"
    " миллион миллиона миллионов млн",
    10**7: "crore crores",
    10**9: "billion billions bn milliard milliards milliarde milliarden mrd"
    " миллиард миллиарда миллиардов млрд",
    10**12: "trillion trillions tn billionen",
}  # fmt: skip
SCALE_OF = {name: scale for scale, names in SCALES.items() for name in names.split()}
POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "²": 2, "2": 2, "³": 3, "3": 3}
RAISED = regex.compile(r"(.+?)\s?(?:\^\s?\{?([23])\}?|([²³]))")
RATE = regex.compile(r"\s?/\s?|\s(?:per|an?)\s")
LONGEST = 40
# Other units, or scales, than those of small letters: no metres, grams, seconds, hours or bytes.
CAPITALS = frozenset([*"MGSH", "Mg", "Mm", "Ms", "Mb", "Gb", "Kb"])


@dataclass(frozen=True)
class Unit:
    """What is measured, and how many base units one of these is."""

    dimension: str
    factor: Fraction


def _read_measures() -> dict[str, Unit]:
    units = {"mph": Unit("length/time", Fraction(201168, 125 * 3600))}
    for dimension, listing in MEASURES.items():
        for names, factor in regex.findall(r"([^=]+)=(\S+)\s?", listing):
            units |= dict.fromkeys(names.split(), Unit(dimension, Fraction(factor)))
    return units


UNITS = _read_measures()


def scale_of(word: str) -> int:
    """Return what a word such as million multiplies a number by, 0 for any other word."""
    return SCALE_OF.get(word.casefold().removesuffix("."), 0)


@lru_cache(maxsize=4096)
def find_unit(name: str) -> Unit | None:
    """Return the unit of a name, None if that is none: hours, km/h, square feet, cm^2."""
    if name in CAPITALS:
        return None
    name = " ".join(name.casefold().split()).removesuffix(".").replace("per cent", "percent")
    if len(name) > LONGEST:
        return None
    numerator, *rest = RATE.split(name, maxsplit=1)
    if rest:
        one, other = find_unit(numerator), find_unit(rest[0])
        if one is None or other is None:
            return None
        return Unit(f"{one.dimension}/{other.dimension}", one.factor / other.factor)
    return _find_power(name) or _find_single(name)


def _find_power(name: str) -> Unit | None:
    raised = RAISED.fullmatch(name)
    first, _, last = name.partition(" ")
    if raised:
        base, exponent = _find_single(raised[1]), POWERS[raised[2] or raised[3]]
    else:
        base, exponent = _find_single(last.strip()), POWERS.get(first.removesuffix("."), 0)
    if base is None or not exponent:
        return None
    return Unit(f"{base.dimension}^{exponent}", base.factor**exponent)


def _find_single(name: str) -> Unit | None:
    singular = PLURALS.get(name, name)
    endings = {"": "", "s": "", "es": "", "ies": "y"}
    for end, singular_end in endings.items():
        if not singular.endswith(end):
            continue
        word = singular.removesuffix(end) + singular_end
        if word in UNITS:
            return UNITS[word]
        if word in COUNTED:
            return Unit(word, Fraction(1))
    return None
