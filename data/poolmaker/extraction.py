"""Extraction tasks that look like the target in form: contact cards, shopping lists, log lines."""

from __future__ import annotations

import json
import random

from .base import Draft, Family, ask, expand, fill, listed, other_than
from .words import NAMES, draw, with_asides

TEAMS = (
    "billing", "payroll", "catering", "security", "reception", "archives", "transport", "design",
    "admissions", "laundry", "stores", "press", "legal", "estates", "training", "dispatch",
    "ticketing", "quality", "housekeeping", "maps",
)  # fmt: skip

CONTACT_NOTES = (
    "[Spoke|Chatted] to {name} from {team}, who sits in room {room}; extension {ext}.",
    "{name} now runs {team}. [Dial|Ring|Try] {ext}, or [knock on|look in at] {room}.",
    "If the {team} desk is closed, {name} is on ext. {ext}. Office: {room}.",
    "Room {room} belongs to {name} ([works in|part of] {team}, phone extension {ext}).",
    "Our [new|main] contact in {team} is {name}. [Internal|Short] number {ext}, door {room}.",
    "Asked around: {team} means {name}, {room} is the room and {ext} the extension.",
    "{ext} rings at {name}'s desk in {room}. That's the {team} team.",
    "For {team} [matters|questions] go to {room} and ask {name}, or call {ext} first.",
    "[Met|Bumped into] {name} by the lift, [moved|gone] to {team}, room {room}, extension {ext}.",
    "{name} left a card: {team}, {room}, x{ext}.",
)
CONTACT_CHATTER = (
    "[Lovely|Very helpful] person.", "Back from leave on {day}.", "Has a {colour} {item} outside.",
    "Used to be a {job} in {town}.", "Prefers calls after lunch.", "Brought {food} for everyone.",
    "Shares the office with a {animal} in a cage.", "Signs everything in {colour} ink.",
    "Only there until {month}.", "We talked about {hobby} for ages.",
)  # fmt: skip
CONTACT_ASKS = (
    "Make a contact card [from|out of] this note.\n\n{m}",
    "{m}\n\n[Add|Save] this person to the [phone list|directory], please.",
    "Who is it, [which|what] team, extension and room? {m}",
    "[Staff|Phone] directory entry for: {m}",
    "{m} Put the contact details in [our|the] usual bar-separated form.",
    "[Pull|Take] the contact [details|data] out of the note: {m}",
    'I [scribbled|noted] this after a call: "{m}" [Give|Write] me the contact row.',
    "Contact row [needed|please]. {m}",
    "{m} [Can|Could] you file that under contacts?",
    "[Turn|Make] my note [into|as] a directory line: {m}",
)


def contact_row(name: str, team: str, ext: str, room: str) -> str:
    return f"contact | {name} | {team} | {ext} | {room}"


def make_contact(rng: random.Random) -> Draft:
    name, other = rng.sample(NAMES, 2)
    team, ext = rng.choice(TEAMS), str(rng.randrange(201, 990))
    room = f"{rng.choice('ABCDEFG')}{rng.randrange(2, 60)}"
    note = ask(rng, CONTACT_NOTES, name=name, team=team, ext=ext, room=room)
    for line in rng.sample(CONTACT_CHATTER, rng.randrange(1, 3)):
        note += " " + fill(rng, line, **draw(rng))
    other_team = other_than(rng, TEAMS, team)
    wrong, reason = rng.choice((
        (contact_row(other, team, ext, room), "the name is wrong"),
        (contact_row(name, other_team, ext, room), "the team is wrong"),
        (contact_row(name, team, str(int(ext) + 9), room), "the extension is wrong"),
    ))  # fmt: skip
    return Draft(ask(rng, CONTACT_ASKS, m=note), contact_row(name, team, ext, room), wrong, reason)


# Plain counted goods (singular, plural), and goods that come in a container.
COUNTED = (
    ("lemon", "lemons"), ("onion", "onions"), ("candle", "candles"), ("egg", "eggs"),
    ("bagel", "bagels"), ("avocado", "avocados"), ("pear", "pears"), ("leek", "leeks"),
    ("sponge", "sponges"), ("light bulb", "light bulbs"), ("peach", "peaches"),
    ("melon", "melons"), ("notebook", "notebooks"), ("courgette", "courgettes"),
)  # fmt: skip
MEASURED = (
    ("bag", "rice"), ("bag", "flour"), ("jar", "honey"), ("jar", "pickles"), ("tin", "chickpeas"),
    ("tin", "tuna"), ("bottle", "olive oil"), ("bottle", "vinegar"), ("box", "matches"),
    ("box", "tea"), ("packet", "yeast"), ("packet", "seeds"), ("kilo", "potatoes"),
    ("kilo", "carrots"), ("litre", "milk"), ("litre", "orange juice"), ("roll", "tape"),
    ("tub", "yoghurt"), ("bar", "soap"), ("bunch", "parsley"),
)  # fmt: skip
DIGITS = {
    1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight",
    9: "nine", 10: "ten", 12: "twelve",
}  # fmt: skip
SHOPPING_NOTES = (
    "We [need|are out of things, so get] {items}.",
    "{name} [asked|called] for {items} from the shop in {town}.",
    "[Don't|Do not] come home without {items}, says {name}.",
    "For the {food} I'll [want|need] {items}.",
    "The {group} [wants|ordered] {items} for {day}.",
    "[Could|Can] somebody fetch {items} before {day}?",
    "On the [list|fridge door]: {items}.",
    "{name} and {name2} are short of {items} at the {building}.",
)
SHOPPING_ASKS = (
    "[Write|Give me] this shopping [list|note] as CSV.\n\n{m}",
    "{m} [As|Make it] a CSV with item and amount, please.",
    "Two columns, item and amount, [comma-separated|as CSV]: {m}",
    "[Turn|Change] the note into [comma-separated lines|a small CSV]: {m}",
    "{m}\n\nCSV of the [goods|items], [thanks|please].",
    "My [shop app|spreadsheet] only [reads|eats] CSV. {m}",
    "[What|How] would the CSV [be|look] for this? {m}",
    "Shopping to CSV: {m}",
    "[Tabulate|List] the groceries [in|as] CSV form. {m}",
    "I have to import this as CSV rows: {m}",
)


def make_shopping(rng: random.Random) -> Draft:
    spoken, rows = [], []
    count = rng.randrange(2, 5)
    counted = rng.sample(COUNTED, count)
    measured = rng.sample(MEASURED, count)
    for single, full in zip(counted, measured, strict=True):
        number = rng.choice(tuple(DIGITS))
        said = rng.choice((str(number), DIGITS[number]))
        if rng.random() < 0.5:
            spoken.append(f"{said} {single[0] if number == 1 else single[1]}")
            rows.append((single[1], str(number)))
        else:
            unit = full[0] if number == 1 else full[0] + ("es" if full[0][-1] in "xh" else "s")
            spoken.append(f"{said} {unit} of {full[1]}")
            rows.append((full[1], f"{number} {unit}"))
    note = ask(rng, SHOPPING_NOTES, **draw(rng), items=listed(spoken))
    spoiled = list(rows)
    spoiled[0], spoiled[1] = (rows[0][0], rows[1][1] + "0"), (rows[1][0], rows[0][1])
    if rng.random() < 0.5:
        spoiled = rows[:-1]
    reason = "an item is missing" if len(spoiled) < len(rows) else "the amounts are wrong"
    return Draft(ask(rng, SHOPPING_ASKS, m=note), csv_text(rows), csv_text(spoiled), reason)


def csv_text(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["item,amount", *(f"{item},{amount}" for item, amount in rows)])


SERVICES = (
    "auth", "mailer", "billing", "search", "uploader", "cache", "gateway", "scheduler", "indexer",
    "backup", "printer-spool", "thumbnailer", "webhooks", "ledger", "chat-relay",
)  # fmt: skip
LEVELS = ("debug", "info", "warning", "error", "critical")
EVENTS = (
    "[connection|socket] to {town} closed after {big} s",
    "retry {n} of {n2} for job {big2}",
    "[disk|volume] {big} percent full",
    "user {name} [signed in|signed out|locked out]",
    "[queue|backlog] length {big} above limit {n}",
    "loaded {big} rows from {item}.db",
    "certificate [expires|runs out] in {big} days",
    "[dropped|skipped] {n} malformed packets",
    "config key {colour}.{material} [missing|unknown]",
    "worker {n} [restarted|killed] by {name}",
    "checksum of {animal}.zip [differs|matches]",
    "[latency|response time] {big}{big2} ms on shard {n}",
)
LOG_LAYOUTS = (
    "{date} {time} {upper} {service}: {event}",
    "[[{time}]] ({service}) {level} - {event}",
    '{date}T{time}Z level={level} svc={service} msg="{event}"',
    "{upper} | {service} | {time} | {event}",
    "{service}[[{pid}]]: {time} <{level}> {event}",
    "{time};{level};{service};{event}",
)
LOG_ASKS = (
    "[Parse|Read] this log line into JSON.\n\n{m}",
    "{m}\n\nTime, level and service as [JSON|a JSON object], please.",
    "[Which|What] time, level and service does the line [show|carry]? [Answer in|Use] JSON: {m}",
    "I'm [debugging|chasing] a [fault|problem] at the {building}. Log to JSON: {m}",
    "{m}\n\n[Structure|Break up] that [log entry|line] for {name}.",
    "JSON fields for the [following|next] log entry:\n{m}",
    "[Pick|Pull] time, level and service [from|out of] `{m}`",
    "Our {group} server [wrote|printed] this: {m}\n[Make|Give me] the JSON record.",
    "[Fields|Record] of this log message[ for {name}|], as JSON?\n\n{m}",
    "[Log|Trace] from {town}:\n{m}\n[Convert|Reduce] it to time, level, service in JSON.",
)


def log_line(rng: random.Random, time: str, level: str, service: str) -> str:
    # The layouts bracket with doubled signs, which the option syntax would swallow.
    layout = rng.choice(LOG_LAYOUTS).replace("[[", "\x02").replace("]]", "\x03")
    event = ask(rng, EVENTS, **draw(rng))
    date = f"20{rng.randrange(31, 49)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    line = expand(rng, layout).format(
        date=date, time=time, level=level, upper=level.upper(), service=service, event=event,
        pid=rng.randrange(200, 9000),
    )  # fmt: skip
    return line.replace("\x02", "[").replace("\x03", "]")


def make_log(rng: random.Random) -> Draft:
    time = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    level, service = rng.choice(LEVELS), rng.choice(SERVICES)
    fields = {"time": time, "level": level, "service": service}
    request = ask(rng, LOG_ASKS, **draw(rng), m=log_line(rng, time, level, service))
    prompt = with_asides(rng, request, 2)
    name = rng.choice(("level", "service"))
    options = LEVELS if name == "level" else SERVICES
    spoiled = fields | {name: other_than(rng, options, fields[name])}
    return Draft(prompt, json.dumps(fields), json.dumps(spoiled), f"the {name} is wrong")


FAMILIES = (
    Family(
        "contact_row", "note about a colleague to a bar-separated contact row", 62, make_contact
    ),
    Family("shopping_csv", "shopping note to CSV", 60, make_shopping),
    Family("log_fields", "log line to a JSON record", 60, make_log),
)
