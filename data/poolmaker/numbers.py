"""Tasks whose answers are computed: word problems, units, dates, numbers in words."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

from .base import Draft, Family, ask, capital, fill
from .words import MONTHS, WEEKDAYS, draw, with_asides


@dataclass(frozen=True)
class Story:
    """A word problem: its text, the one-line reasoning, and the sum behind both."""

    text: str
    steps: str
    solve: Callable[[int, int, int], int]


# a is from 30 to 95, b from 3 to 12, c from 2 to 9; p = b * c.
STORIES = (
    Story("{name} [has|owns] {a} stamps, gives {b} to {name2} and finds {c} more in a {item}.",
          "{a} - {b} + {c} = {r}", lambda a, b, c: a - b + c),
    Story("A {job} in {town} packs {b} boxes with {c} jars each, and {a} jars were packed before.",
          "{b} x {c} + {a} = {r}", lambda a, b, c: b * c + a),
    Story("The {group} shares {p} [tickets|badges] equally among {b} members.",
          "{p} / {b} = {r}", lambda a, b, c: c),
    Story("One {item} costs {a} coins. {name} buys {c} of them and [has|uses] a {b}-coin voucher.",
          "{a} x {c} - {b} = {r}", lambda a, b, c: a * c - b),
    Story("A {animal} walks {b} metres a minute for {c} minutes, then another {a} metres.",
          "{b} x {c} + {a} = {r}", lambda a, b, c: b * c + a),
    Story("On {day} {a} people [visit|see] the {building}; {b} leave early and {c} leave late.",
          "{a} - {b} - {c} = {r}", lambda a, b, c: a - b - c),
    Story("{name} reads {b} pages on {day} and {c} times as many on {day2}.",
          "{b} + {b} x {c} = {r}", lambda a, b, c: b + b * c),
    Story("There are {a} {colour} tiles and {b} {colour2} ones, and {c} of them break.",
          "{a} + {b} - {c} = {r}", lambda a, b, c: a + b - c),
    Story("A tank at the {building} holds {a} litres. {c} buckets of 3 litres are taken out.",
          "{a} - {c} x 3 = {r}", lambda a, b, c: a - c * 3),
    Story("{name} bakes {b} trays of {food}, {c} portions to a tray, and eats 2 portions.",
          "{b} x {c} - 2 = {r}", lambda a, b, c: b * c - 2),
    Story("{name} is {a} years old and {name2} is {b} years younger.",
          "{a} - {b} = {r}", lambda a, b, c: a - b),
    Story("A bus leaves {town} with {a} riders. At {town2} {b} get off and {c} get on.",
          "{a} - {b} + {c} = {r}", lambda a, b, c: a - b + c),
    Story("{name} earns {b} tokens an hour [at|doing] {hobby} and works {c} hours on {day}.",
          "{b} x {c} = {r}", lambda a, b, c: b * c),
    Story("A ribbon of {p} cm is cut into {c} equal pieces by a {job}.",
          "{p} / {c} = {r}", lambda a, b, c: b),
    Story("In {month} it rained on {b} days in {town} and on {c} more days in {town2}.",
          "{b} + {c} = {r}", lambda a, b, c: b + c),
    Story("The {group} sells {b} cups of tea at {c} coins and one {item} at {a} coins.",
          "{b} x {c} + {a} = {r}", lambda a, b, c: b * c + a),
)  # fmt: skip
QUESTIONS = (
    "How many stamps [does|would] {name} [have|hold] now?",
    "How many jars in all?",
    "How many does each get?",
    "How many coins does that cost?",
    "How far does it go in all?",
    "How many people stay?",
    "How many pages is that together?",
    "How many whole tiles remain?",
    "How many litres stay?",
    "How many portions are left?",
    "How old is the younger one?",
    "How many riders leave then?",
    "How many tokens is that?",
    "How long is a piece?",
    "On how many days did it rain there?",
    "How many coins come in?",
)
PROBLEM_ASKS = (
    "{m}", "[Work this out|Solve this] [in one line|briefly]: {m}",
    "{m} [Show|Give] the [sum|calculation] too.",
    "[Maths|Homework] [help|question] for {name}: {m}", "{m} One line of working, please.",
    "[A|Here's a] little [puzzle|sum]. {m}", "[Check|Test] me on this. {m}",
    "{name} [is stuck|gave up] on this one: {m}", "[Quick|Short] arithmetic:\n\n{m}",
    "{m}\n\n[Write|State] the sum and the answer.",
)  # fmt: skip
PROBLEM_ANSWERS = (
    "{steps}, so the answer is {r}.", "{steps}. Answer: {r}", "The sum is {steps}, that is {r}.",
)  # fmt: skip


def make_problem(rng: random.Random) -> Draft:
    index = rng.randrange(len(STORIES))
    story, slots = STORIES[index], draw(rng)
    a, b, c = rng.randrange(30, 96), rng.randrange(3, 13), rng.randrange(2, 10)
    result = story.solve(a, b, c)
    sums = {"a": a, "b": b, "c": c, "p": b * c}
    text = fill(rng, story.text + " " + QUESTIONS[index], **slots, **sums)
    prompt = ask(rng, PROBLEM_ASKS, **draw(rng), m=text)
    answer = rng.choice(PROBLEM_ANSWERS)
    slip = result + rng.choice((-10, -2, -1, 1, 2, 10))
    slip = slip if slip > 0 else result + 3
    right, wrong = (
        answer.format(steps=story.steps.format(**sums, r=r), r=r) for r in (result, slip)
    )
    return Draft(prompt, right, wrong, "the result is wrong")


# From, to, factor; every factor is exact.
UNITS = (
    ("kilometres", "metres", Fraction(1000)), ("metres", "centimetres", Fraction(100)),
    ("centimetres", "millimetres", Fraction(10)), ("kilograms", "grams", Fraction(1000)),
    ("tonnes", "kilograms", Fraction(1000)), ("litres", "millilitres", Fraction(1000)),
    ("hours", "minutes", Fraction(60)), ("minutes", "seconds", Fraction(60)),
    ("days", "hours", Fraction(24)), ("weeks", "days", Fraction(7)),
    ("feet", "inches", Fraction(12)), ("yards", "feet", Fraction(3)),
    ("pounds", "ounces", Fraction(16)), ("gallons", "pints", Fraction(8)),
    ("inches", "centimetres", Fraction(254, 100)), ("metres", "kilometres", Fraction(1, 1000)),
    ("grams", "kilograms", Fraction(1, 1000)), ("millilitres", "litres", Fraction(1, 1000)),
    ("centimetres", "metres", Fraction(1, 100)), ("minutes", "hours", Fraction(1, 60)),
)  # fmt: skip
UNIT_ASKS = (
    "[How many|How much in] {to} [are|make] {x} {frm}?",
    "[Convert|Change] {x} {frm} to {to}.",
    "What is {x} {frm} [in|expressed in] {to}?",
    "{x} {frm} = ? {to}.",
    "[Give|Tell] me {x} {frm} as {to}[, please|].",
    "I [have|measured] {x} {frm} and [need|want] {to}.",
    "[Express|Write] {x} {frm} in {to}, [please|thanks].",
    "[If something is|Say it is] {x} {frm}, [what's that|how much is it] in {to}?",
    "{to} from {x} {frm}?",
)
UNIT_ANSWERS = (
    "{x} {frm} = {y} {to}", "That is {y} {to}.", "{y} {to}", "{x} {frm} make {y} {to}.",
)  # fmt: skip


def plain(number: Fraction) -> str:
    return f"{float(number):.6f}".rstrip("0").rstrip(".")


def make_unit(rng: random.Random) -> Draft:
    frm, to, factor = rng.choice(UNITS)
    if factor >= 1:
        amount = Fraction(rng.randrange(4, 190), rng.choice((1, 2, 2)))
    else:
        amount = rng.randrange(1, 60) / factor / rng.choice((1, 2, 4))
    slots = draw(rng) | {"x": plain(amount), "frm": frm, "to": to}
    prompt = with_asides(rng, ask(rng, UNIT_ASKS, **slots), 3)
    result = amount * factor
    slip = result * rng.choice((10, Fraction(1, 10), 2))
    answer = rng.choice(UNIT_ANSWERS)
    right, wrong = (answer.format(y=plain(y), **slots) for y in (result, slip))
    return Draft(prompt, right, wrong, "the amount is wrong")


DATE_TASKS = (
    ("after", "[Which|What] date is {n} days after {start}?"),
    (
        "after",
        "The {item} [arrived|was bought] on {start} and can go back for {n} days. Until when?",
    ),
    ("after", "{name} [starts|began] a {n}-day {hobby} break on {start}. Date of the return?"),
    ("after", "A library loan of {n} days [starts|begins] on {start}. [When|What date] is it due?"),
    ("before", "[Which|What] date is {n} days before {start}?"),
    ("before", "The {group} meets on {start}. Invitations go out {n} days earlier. [When|Date]?"),
    ("before", "{food} must be ordered {n} days ahead. For {start}, what is the last date?"),
    ("between", "How many days [are there|lie|pass] between {start} and {end}?"),
    ("between", "The {building} [shuts|closes] on {start} and reopens on {end}. Days in between?"),
    ("between", "{name} left {town} on {start} and [came back|returned] on {end}. How many days?"),
    ("weekday", "[What|Which] day of the week is {start}?"),
    ("weekday", "{name}'s {job} exam is on {start}. [Which|What] weekday is that?"),
    ("weekday", "The {animal} show in {town} takes place on {start}. On which weekday?"),
)
DATE_ASKS = (
    "{m}", "[Calendar|Date] question: {m}", "{m} [Just|Only] the answer, please.",
    "[Help|Tell] {name2}: {m}", "[Count|Work out] for me. {m}", "{m} I [always|often] miscount.",
    "[For|About] the plan in {town2}: {m}", "[Quick|Small] one.\n\n{m}",
    "{m}\n\n[Keep it|Answer] short.", "The {job} [wonders|asked me]: {m}",
)  # fmt: skip


def say_date(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def date_answer(kind: str, start: date, days: int) -> str:
    match kind:
        case "after":
            return say_date(start + timedelta(days=days))
        case "before":
            return say_date(start - timedelta(days=days))
        case "between":
            return f"{days} days"
    return WEEKDAYS[(start + timedelta(days=days)).weekday()]


def make_date(rng: random.Random) -> Draft:
    kind, text = rng.choice(DATE_TASKS)
    start = date(2027, 1, 1) + timedelta(days=rng.randrange(1400))
    days = rng.choice((*range(3, 40), 45, 50, 60, 90, 100))
    slots = draw(rng) | {"n": str(days), "start": say_date(start)}
    slots["end"] = say_date(start + timedelta(days=days))
    question = capital(fill(rng, text, **slots))
    prompt = with_asides(rng, ask(rng, DATE_ASKS, **slots, m=question), 2)
    basis = 0 if kind == "weekday" else days
    right = date_answer(kind, start, basis)
    wrong = date_answer(kind, start, basis + rng.choice((1, 2, 3)))
    form = rng.choice(("{}", "{}.", "It is {}.", "Answer: {}"))
    return Draft(prompt, form.format(right), form.format(wrong), "the count of days is off")


ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" and {in_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    link = " and " if number % 1000 < 100 else " "
    tail = link + in_words(number % 1000) if number % 1000 else ""
    return f"{in_words(number // 1000)} thousand{tail}"


WORD_SETTINGS = (
    "{name} [writes|is writing] a cheque to a {job} in {town}.", "It's for the {month} raffle.",
    "The {group} [counted|collected] that many {item}s.", "A {colour} plaque at the {building}.",
    "{animal} number plates, [believe it or not|seriously].", "For a {hobby} certificate on {day}.",
    "The {material} price in {town}.", "{name} [bets|says] I can't [do|manage] it.",
    "It goes on [the|a] cake for {name2}.", "[Found|Seen] on a {item} in {year}.",
)  # fmt: skip
WORD_ASKS = (
    "{k} [Spell out|Write out] {x} in words.", "[How do|How would] you [say|write] {x}? {k}",
    "{x} in [English words|letters][, please|]. {k}", "{k} [Put|Set] {x} into words.",
    "[Number|Figure] to words: {x}. {k}", "{k} What is {x} when [written|spelled] out?",
    "{k} [No digits|Words only]: {x}", "[Read|Say] {x} [aloud|out loud] for me. {k}",
)  # fmt: skip
FIGURE_ASKS = (
    "{k} [Write|Give] \"{w}\" in [digits|figures].", "[Which|What] number is {w}? {k}",
    "{k} [Digits|Figures] for {w}, [please|thanks].", "{w} as a number? {k}",
)  # fmt: skip


def make_words(rng: random.Random) -> Draft:
    number = rng.choice((rng.randrange(120, 1000), rng.randrange(1000, 99000)))
    slip = number + rng.choice((-100, -1, 1, 10, 100))
    settings = [fill(rng, line, **draw(rng)) for line in rng.sample(WORD_SETTINGS, 2)]
    slots = {"k": " ".join(settings), "x": str(number), "w": in_words(number)}
    if rng.random() < 0.3:
        prompt = with_asides(rng, ask(rng, FIGURE_ASKS, **slots), 1)
        return Draft(prompt, str(number), str(slip), "another number")
    prompt = with_asides(rng, ask(rng, WORD_ASKS, **slots), 1)
    return Draft(prompt, in_words(number), in_words(slip), "another number")


FAMILIES = (
    Family("word_problem", "arithmetic story with one line of working", 66, make_problem),
    Family("unit_conversion", "convert a measure", 58, make_unit),
    Family("date_arithmetic", "days before, after and between dates", 58, make_date),
    Family("number_words", "numbers in words and back", 50, make_words),
)
