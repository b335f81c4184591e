"""Text that is no instruction at all: what scraping leaves behind."""

from __future__ import annotations

import random

from .base import ask, fill
from .words import draw

SYLLABLES = (
    "lor", "ip", "dol", "sit", "mar", "ven", "tus", "quo", "rem", "pel", "ut", "nam", "cor", "vi",
    "tor", "sae", "mi", "lun", "gra", "fel", "bon", "ter", "os", "ix",
)  # fmt: skip
KEYS = "asdfghjklqwertzuiop"
NOISE = (
    "[We|This site and its {big} partners] use cookies to [remember|improve] your visit to "
    "{town}{item}.example. [Accept all|Accept] | [Reject|Manage choices]",
    "Home > {building} > {month} > {item}s | [Log in|Sign in] / Basket ({n}) | Help | {town}",
    '<div class="{colour}-{item}"><span>&nbsp;&nbsp;{big}</span></div><br/><br/>',
    '-- \n{name}, {hobby} fan since {year}. "Never trust a {animal}." Posts: {big}{n}',
    "Error 404: /{town}/{item}/{big}.html [was not found|has moved]. Back to the {building} page.",
    "[Sign up|Subscribe] to our {food} newsletter and [save|get] {big} percent off one {item}!",
    "(c) {year} {town} {material} Works. All rights reserved. [Imprint|Terms] . Privacy . Sitemap",
    "Share this: [f|fb] [t|tw] [in|mail] print | {big} likes | {n} notes | tags: {hobby}, {animal}",
    '{{"ad_slot": "{colour}{n}", "w": {big}0, "h": {n}0, "fill": "{item}"}}',
    "function {animal}{n}() {{ return window.{item} || {big}; }} // {town}",
    "Page {n} of {big} << prev next >> jump to {name} | {month} {year} archive",
    "[Thread|Topic] closed by moderator {name}. Reason: {hobby} belongs in the {colour} forum.",
    "SKU {big}{n2}-{colour} {item} {material} | in stock: {n} | was {big2}.99 now {big}.99",
    "[Loading|Please wait]... {big}% ... {n} of {n2} scripts blocked by your {item} filter",
    "{n} {n2} {big} {big2} {year} {n2} {big2} {n} {big} {year} {n} {n2} {item}",
    "&lt;p&gt;{town}&lt;/p&gt; &amp;gt; &#39;{animal}&#39; <td width={big}></td></tr></table>",
    "Your session for {name}{big} has expired. [Refresh|Reload] to keep shopping for {item}s.",
    "Previous article: A {job} in {town2} | Next article: {food}, {n} ways | Back to top",
)


def filler(rng: random.Random) -> str:
    words = [
        "".join(rng.choices(SYLLABLES, k=rng.randrange(1, 4))) for _ in range(rng.randrange(10, 28))
    ]
    return " ".join(words).capitalize() + "."


def mash(rng: random.Random) -> str:
    return " ".join(
        "".join(rng.choices(KEYS, k=rng.randrange(2, 9))) for _ in range(rng.randrange(4, 10))
    )


def noise(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.15:
        return filler(rng)
    if kind < 0.22:
        return mash(rng)
    parts = [ask(rng, NOISE, **draw(rng))]
    if rng.random() < 0.4:
        parts.append(fill(rng, rng.choice(NOISE), **draw(rng)))
    return "\n".join(parts)
