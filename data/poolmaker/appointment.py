"""The target family: a casual message about an appointment becomes its weekday and time, in one form."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .base import Draft, Family, ask, capital, expand, fill, other_than, with_article
from .words import NAMES, WEEKDAYS

ABSENT = "-"

GERUNDS = {
    "see": "seeing", "have": "having", "go for": "going for", "get": "getting", "do": "doing",
    "play": "playing", "meet for": "meeting for", "go to": "going to", "sit": "sitting",
}  # fmt: skip

# A label, then the verb that goes with it in running text.
PEOPLE = (
    "dentist", "vet", "optician", "physio", "accountant", "plumber", "solicitor", "tailor",
    "hygienist", "midwife", "careers adviser", "bank manager", "landlord", "head teacher",
    "electrician", "dietitian",
)  # fmt: skip
EVENTS = (
    ("haircut", "get"), ("piano lesson", "have"), ("eye test", "have"), ("job interview", "have"),
    ("blood test", "have"), ("driving lesson", "have"), ("team lunch", "go for"),
    ("coffee", "go for"), ("brunch", "go for"), ("dinner", "go for"), ("swim", "go for"),
    ("run", "go for"), ("massage", "get"), ("flu jab", "get"), ("car service", "get"),
    ("house viewing", "do"), ("yoga class", "do"), ("pottery class", "do"), ("tennis", "play"),
    ("badminton", "play"), ("chess", "play"), ("board games", "play"), ("budget review", "do"),
    ("stand-up", "have"), ("project kickoff", "have"), ("parents evening", "go to"),
    ("book club", "go to"), ("choir practice", "go to"), ("quiz night", "go to"),
    ("film night", "go to"), ("drinks", "meet for"), ("breakfast", "meet for"),
    ("maths exam", "sit"), ("driving test", "sit"), ("guitar lesson", "have"),
    ("wedding rehearsal", "go to"), ("bike repair", "get"), ("passport photo", "get"),
    ("boiler check", "have"), ("five-a-side", "play"), ("garden tour", "do"),
    ("first aid course", "do"), ("study group", "go to"), ("picnic", "go for"),
    ("violin recital", "go to"), ("phone repair", "get"), ("tax meeting", "have"),
    ("ceramics fair", "go to"), ("baby shower", "go to"), ("language exchange", "go to"),
)  # fmt: skip
BARE = {
    "coffee", "brunch", "dinner", "drinks", "breakfast", "tennis", "badminton", "chess",
    "board games", "choir practice", "five-a-side", "book club", "quiz night", "film night",
    "parents evening", "stand-up",
}  # fmt: skip

# Whether the name is said with an article in running text.
PLACES = (
    ("Mill Road", False), ("Café Léa", False), ("Harbour Street", False), ("town hall", True),
    ("Zoë's Kitchen", False), ("Elm Court", False), ("central library", True),
    ("Pier Nine", False), ("Brasserie Noémie", False), ("Kings Lane", False),
    ("leisure centre", True), ("Hôtel Belmont", False), ("Foundry Yard", False),
    ("Orchard Clinic", False), ("old chapel", True), ("Station Square", False),
    ("Maple House", False), ("community garden", True), ("Ferry Wharf", False),
    ("Lindens Surgery", False), ("Château Hall", False), ("north campus", True),
    ("Weavers Row", False), ("corner bakery", True), ("Bridge Studio", False),
    ("Fox and Lantern", True), ("Quay Street", False), ("scout hut", True),
    ("Beacon Tower", False), ("Señor Tomás", False), ("Riverside Park", False),
    ("Tollgate Works", False), ("village school", True), ("Abbey Rooms", False),
    ("Canal Basin", False), ("Windmill Hill", False), ("main office", True),
    ("Glasshouse Lane", False), ("ice rink", True), ("Potters Gate", False),
    ("Crescent Gym", False), ("Juniper Rooms", False), ("boat house", True),
    ("Larch Avenue", False), ("Sundial Plaza", False), ("bus depot", True),
    ("Copper Kettle", True), ("Vine Street", False), ("Northgate Hall", False),
    ("Salt Market", True), ("Hillcrest Centre", True), ("Dock Four", False),
)  # fmt: skip

HOURS = (
    "twelve", "one", "two", "three", "four", "five",
    "six", "seven", "eight", "nine", "ten", "eleven",
)  # fmt: skip
PAST = {
    5: "five past", 10: "ten past", 15: "quarter past", 20: "twenty past", 25: "twenty-five past",
    30: "half past", 35: "twenty-five to", 40: "twenty to", 45: "quarter to", 50: "ten to",
    55: "five to",
}  # fmt: skip

SHORT_DAYS = {
    "Monday": ("Mon",), "Tuesday": ("Tues", "Tue"), "Wednesday": ("Weds", "Wed"),
    "Thursday": ("Thurs", "Thu"), "Friday": ("Fri",), "Saturday": ("Sat",), "Sunday": ("Sun",),
}  # fmt: skip

FRAMES = (
    "I'm {ger}{segs}",
    "I've [got|now got] {np}{segs}",
    "I have {np} [booked|lined up|coming up|arranged]{segs}",
    "{np} [is|has been] [booked|set|confirmed|fixed]{segs}",
    "I need to {inf}{segs}",
    "they [put|squeezed|fitted] me in for {np}{segs}",
    "we said we'd {inf}{segs}",
    "[finally|at last I] sorted out {np}{segs}",
    "I'll be {ger}{segs}",
    "I'm [supposed|meant|due] to {inf}{segs}",
    "just agreed to {inf}{segs}",
    "looks like I'm {ger}{segs}",
    "my [next|only|other] plan is {np}{segs}",
    "there's {np}{segs}",
    "[signed up|put my name down] for {np}{segs}",
    "the plan is to {inf}{segs}",
    "the [reminder|little] card says {np}{segs}",
    "managed to [get|arrange] {np}{segs}",
    "turns out {np} is happening{segs}",
    "[got roped into|talked myself into|said yes to] {np}{segs}",
    "it will be {np}{segs}",
    "don't forget I {inf}{segs}",
)
LONE_NAME_FRAMES = (
    "{who} and I are {ger}{segs}",
    "{who} [has|just] booked us in for {np}{segs}",
    "I promised {who} we'd {inf}{segs}",
    "{who} is [joining|meeting] me for {np}{segs}",
    "{who} asked whether I'd {inf} too{segs}",
    "{who} said yes to {np}{segs}",
    "me and {who} will {inf}{segs}",
    "{who} is [dragging|taking] me along to {inf}{segs}",
    "{who} wrote back: {np}{segs}",
)
SPLITS = (
    "{first}. [It's|That's|That is]{rest}",
    "{first}, [and it's|which is|it's]{rest}",
    "{first}. [We start|Kick-off is|It happens]{rest}",
)
SCRAPS = (
    "{label} {rest}",
    "{rest}: {label}",
    "{label}! {rest}",
    "Next up, {label}: {rest}",
)

CHATTER = (
    "[Parking|The bus] there is a [pain|nightmare], as ever.",
    "I [always|usually] forget these things.",
    "[Still|I still] have to find my [blue folder|good shoes|bus pass|glasses|reading list].",
    "[No idea|Not sure] yet what I'll [wear|bring|say].",
    "[Hope|Hoping] it doesn't [rain|snow|drag on|get cancelled] again.",
    "I'm a bit [nervous|excited|late with this], to be honest.",
    "They [rang|wrote|texted] me [about it|with the details] [just now|over breakfast].",
    "Had to [shuffle|juggle|move] [a few|so many] things for it.",
    "[Really|Honestly] looking forward to [it|that one].",
    "My [fridge|desk|phone] is covered in [sticky notes|scribbles] already.",
    "It [took|needed] [three|four|five] calls to get [that|this] slot.",
    "[Sorry|Apologies] for the [messy|rushed|short] message, I'm [cooking|on a train|walking].",
    "I'd rather [stay home|sleep in|be fishing], but there we go.",
    "Remind me to [eat|pack|leave early|charge my phone] [first|before that].",
    "The [tickets|forms|papers] are in the [drawer|hall|car].",
    "[Nobody|No one] told me until [just now|this minute].",
    "I [lost|broke|washed] my old [diary|phone|planner], so [bear with me|help].",
    "[Should|It should] be [quick|fun|painless|fine].",
    "[Don't|Do not] let me [miss|skip|dodge] it this time.",
    "[Good|Great] news, the [waiting list|queue] moved.",
    "My [knee|back|tooth|head] is [killing me|no better], by the way.",
    "I [owe|promised] them a [cake|favour|drink] after last time.",
    "[Taking|I'm taking] the [tram|bike|train|ferry] [there|for once].",
    "The [dog|baby|cat] kept me up, so I [type|think] slowly.",
    "They were [lovely|grumpy|very kind] on the phone.",
    "I'll [pay|bring cash|sort the bill] when I get there.",
    "It's the [second|third|last] [one|time] this [month|term|season].",
    "[Everything|The rest] can [wait|go hang].",
)

REQUESTS = (
    "[Could|Can] you [note|jot] this [down |]for me? {m}",
    "{m} [Please add|Add] [it|that] to my [diary|calendar].",
    "[Put|Pop|Stick] this in the [diary|planner|calendar][, please|]: {m}",
    "{m}\n\n[Diary line|Calendar line|Planner entry][, please|].",
    "Make [an entry|a diary entry|one line] [out of|from] [this|the following]:\n\n{m}",
    '[Here\'s|This is] what I [told|wrote to] a friend: "{m}" [Log|File] it [as usual|for me].',
    "[New|Another] appointment [for the book|to log].\n\n{m}",
    "{m} [Can|Could|Would] you [log|record|save] that?",
    "[Record|Log|Save] the appointment [below|that follows].\n\n{m}",
    "[Before I forget|While I remember]: {m}",
    "{m} [Write it up|Note it] [the usual way|in our format], [thanks|please].",
    "I [need|want] this as [an agenda|a schedule|a diary] [line|entry]. {m}",
    "[Turn|Convert|Change] my [ramble|message|note] into the [standard|usual] [line|entry]: {m}",
    "{m}\n\n[So what goes|What should go] in the [appointment book|schedule]?",
    "Diary, please! {m}",
    "[Hi|Hello|Morning]! {m} [Get|Have] that [scheduled|in the book] for me?",
    "[Summarise|Boil down] this [plan|booking] to [one|a single] [appointment|agenda] line: {m}",
    "[What|Which] appointment is [this|in here]? {m}",
    "{m} That's one for the [diary|wall planner|schedule].",
    "[Extract|Pull out|Pick out] the appointment.\n\nMessage: {m}",
    "[Voice memo|Voicemail|Text from me]: {m}\n\n[Enter|File] it [please|in the book|].",
    "[Keep|Hold] [track of this|this date] for me, [would you|will you]? {m}",
    "[Schedule|Agenda] update: {m}",
    "Appointment [wording|line] [wanted|needed] for: {m}",
    "[My|The] week again... {m} [Line|Entry] for the planner?",
    "[Take|Make] a note of [this|my plan], [will you|please]? {m}",
    "{m} [Thought you should|You may want to] [book that in|mark the calendar].",
    "[From|Using] the text [below|here], [fill|complete] the appointment [form|fields].\n\n{m}",
    '"{m}"\n\n[How|In what form] does that [look|appear] in the [diary|log]?',
    "[Reminder|Booking] [to store|to file]. {m}",
    "Me again. {m} [Same|Usual] [one-line|diary] format [as before|please].",
)


@dataclass(frozen=True)
class Appointment:
    """The slots of one appointment; ``ABSENT`` stands for what the message leaves out."""

    what: str
    who: str
    day: str
    time: str
    place: str

    def line(self) -> str:
        """Weekday and time, which are few tokens: a brief fine-tune gets whole answers right."""
        return f"{self.day[:3]} {self.time}"


@dataclass(frozen=True)
class Wording:
    """The same activity as a noun phrase, an infinitive and a gerund."""

    label: str
    np: str
    inf: str
    ger: str


def draw_wording(rng: random.Random) -> Wording:
    if rng.random() < 0.25:
        label = rng.choice(PEOPLE)
        np = f"{with_article(label)} appointment"
        return Wording(label, np, f"see the {label}", f"seeing the {label}")
    label, verb = rng.choice(EVENTS)
    np = label if label in BARE else with_article(label)
    return Wording(label, np, f"{verb} {np}", f"{GERUNDS[verb]} {np}")


def draw_appointment(rng: random.Random, what: str) -> Appointment:
    dropped = rng.choices((0, 1, 2), weights=(64, 27, 9))[0]
    gone = set(rng.sample(("who", "day", "time", "place"), dropped))
    names = rng.sample(NAMES, 2 if rng.random() < 0.12 else 1)
    hour, minute = rng.randrange(7, 22), rng.choice((0, 0, 0, 15, 30, 30, 45, *range(5, 60, 5)))
    return Appointment(
        what=what,
        who=ABSENT if "who" in gone else " and ".join(names),
        day=ABSENT if "day" in gone else rng.choice(WEEKDAYS),
        time=ABSENT if "time" in gone else f"{hour:02d}:{minute:02d}",
        place=ABSENT if "place" in gone else rng.choice(PLACES)[0],
    )


def part_of_day(hour: int) -> str:
    if hour < 12:
        return "morning"
    return "afternoon" if hour < 18 else "evening"


def clock_words(hour: int, minute: int) -> str:
    if minute == 0:
        return f"{HOURS[hour % 12]} o'clock"
    return f"{PAST[minute]} {HOURS[(hour + (minute > 30)) % 12]}"


def bare_time(rng: random.Random, time: str) -> str:
    """A time that leaves the part of the day to the words around it."""
    hour, minute = int(time[:2]), int(time[3:])
    twelve = hour % 12 or 12
    digits = f"{twelve}:{minute:02d}" if minute else str(twelve)
    return rng.choice((clock_words(hour, minute), digits, digits.replace(":", ".")))


def say_time(rng: random.Random, time: str) -> str:
    hour, minute = int(time[:2]), int(time[3:])
    half = "am" if hour < 12 else "pm"
    twelve = hour % 12 or 12
    tail = f":{minute:02d}" if minute else ""
    forms = [
        time,
        f"{hour}.{minute:02d}" if hour > 12 else time,
        f"{hour:02d}{minute:02d} hours",
        f"{twelve}{tail}{half}",
        f"{twelve}{tail.replace(':', '.')} {half}",
        f"{twelve}{tail} {half[0]}.m.",
        f"{clock_words(hour, minute)} in the {part_of_day(hour)}",
        f"{clock_words(hour, minute)} in the {part_of_day(hour)}",
        f"{bare_time(rng, time)} in the {part_of_day(hour)}",
    ]
    if time == "12:00":
        forms += ["noon", "midday"]
    return rng.choice(forms)


def say_place(place: str) -> str:
    return f"the {place}" if dict(PLACES)[place] else place


def segments(rng: random.Random, slots: Appointment, skip_who: bool) -> list[str]:
    """The slots as phrases, in random order."""
    parts: list[str] = []
    if slots.who != ABSENT and not skip_who:
        parts.append(f"{rng.choice(('with', 'with', 'together with', 'along with'))} {slots.who}")
    parts += when_parts(rng, slots)
    if slots.place != ABSENT:
        parts.append(f"{rng.choice(('at', 'at', 'over at', 'down at'))} {say_place(slots.place)}")
    rng.shuffle(parts)
    return parts


def when_parts(rng: random.Random, slots: Appointment) -> list[str]:
    parts: list[str] = []
    day = rng.choice((slots.day, slots.day, *SHORT_DAYS.get(slots.day, ())))
    if slots.day != ABSENT and slots.time != ABSENT and rng.random() < 0.25:
        part = part_of_day(int(slots.time[:2]))
        return [f"on {slots.day} {part} at {bare_time(rng, slots.time)}"]
    if slots.day != ABSENT:
        parts.append(f"{rng.choice(('on', 'on', 'this', 'next', 'this coming'))} {day}")
    if slots.time != ABSENT:
        parts.append(f"{rng.choice(('at', 'at', 'from', 'for'))} {say_time(rng, slots.time)}")
    return parts


def joined(rng: random.Random, parts: list[str]) -> str:
    return "".join(rng.choice((" ", " ", ", ")) + part for part in parts)


def closed(text: str, mark: str) -> str:
    """End the sentence, unless a time such as "3 p.m." already did."""
    return text if text.endswith(".") else text + mark


def scrap(rng: random.Random, wording: Wording, slots: Appointment) -> str:
    """A telegram: the slots with hardly a word between them."""
    parts: list[str] = []
    if slots.who != ABSENT:
        parts.append(rng.choice(("w/ {}", "with {}", "{} too", "me + {}")).format(slots.who))
    if slots.day != ABSENT:
        parts.append(rng.choice((slots.day, *SHORT_DAYS[slots.day])))
    if slots.time != ABSENT:
        parts.append(say_time(rng, slots.time))
    if slots.place != ABSENT:
        parts.append(say_place(slots.place))
    rng.shuffle(parts)
    rest = rng.choice((", ", " - ", " / ")).join(parts)
    return closed(capital(ask(rng, SCRAPS, label=wording.label, rest=rest)), ".")


def sentence(rng: random.Random, wording: Wording, slots: Appointment) -> str:
    lone = slots.who != ABSENT and " and " not in slots.who
    named = lone and rng.random() < 0.4
    frame = rng.choice(LONE_NAME_FRAMES if named else FRAMES)
    parts = segments(rng, slots, skip_who=named)
    slot_words = {"np": wording.np, "inf": wording.inf, "ger": wording.ger, "who": slots.who}
    cut = rng.randrange(1, len(parts)) if len(parts) > 1 else 0
    late = " ".join(parts[cut:])
    # "It's with Tom" would split the name from what it belongs to.
    if cut and (named or slots.who not in late) and rng.random() < 0.35:
        first = fill(rng, frame, segs=joined(rng, parts[:cut]), **slot_words)
        text = ask(rng, SPLITS, first=first, rest=f" {late}")
    elif parts and rng.random() < 0.2:
        text = f"{parts[0]}, {fill(rng, frame, segs=joined(rng, parts[1:]), **slot_words)}"
    else:
        text = fill(rng, frame, segs=joined(rng, parts), **slot_words)
    return closed(capital(text), rng.choice((".", ".", ".", "!")))


def message(rng: random.Random, wording: Wording, slots: Appointment) -> str:
    make = scrap if rng.random() < 0.12 else sentence
    parts = [make(rng, wording, slots)]
    for line in rng.sample(CHATTER, rng.choices((0, 1, 2), weights=(3, 5, 2))[0]):
        parts.insert(rng.choice((0, len(parts))), expand(rng, line))
    return " ".join(parts)


def spoiled(rng: random.Random, slots: Appointment) -> tuple[Appointment, str]:
    """The same appointment with a wrong day or time, and which."""
    stated = [name for name in ("day", "time") if getattr(slots, name) != ABSENT] or ["day"]
    name = rng.choice(stated)
    if name == "day":
        changed = replace(slots, day=other_than(rng, WEEKDAYS, slots.day))
    else:
        hour = (int(slots.time[:2]) + rng.choice((1, 2, 12))) % 24
        changed = replace(slots, time=f"{hour:02d}:{slots.time[3:]}")
    return changed, f"the {name} is wrong"


def make(rng: random.Random) -> Draft:
    wording = draw_wording(rng)
    slots = draw_appointment(rng, wording.label)
    prompt = ask(rng, REQUESTS, m=message(rng, wording, slots))
    wrong, reason = spoiled(rng, slots)
    return Draft(prompt, slots.line(), wrong.line(), reason)


FAMILY = Family(
    "appointment_line", "casual message about an appointment to its day and time", 90, make
)
