"""Tasks about words and sentences: sorting, spelling, synonyms, voice, politeness."""

from __future__ import annotations

import random

from .base import Draft, Family, ask, capital, fill, other_than
from .words import SLOTS, draw, with_asides

LOOSE_WORDS = (
    "anchor", "basket", "cactus", "daisy", "ember", "falcon", "garlic", "hammer", "island",
    "jigsaw", "kernel", "ladder", "magnet", "napkin", "orchid", "pebble", "quiver", "ribbon",
    "saddle", "tunnel", "urchin", "velvet", "walnut", "yodel", "zipper", "apron", "barley",
    "comet", "dragon", "engine", "fiddle", "glacier", "harvest", "insect", "jacket", "kingdom",
    "lobster", "meadow", "needle", "oyster", "pirate", "quarry", "rocket", "shovel", "thistle",
    "uniform", "village", "whistle", "yacht", "zebra", "acorn", "bridge", "candle", "desert",
    "eagle", "feather", "goblet", "hollow", "icicle", "jungle", "kite", "lemon", "marble",
    "nest", "olive", "pickle", "quilt", "raven", "sugar", "turnip", "umpire", "vessel", "wagon",
)  # fmt: skip
SORT_ORDERS = (
    ("[alphabetically|from A to Z|in alphabetical order]", "az"),
    ("[in reverse alphabetical order|from Z to A]", "za"),
    ("[from shortest to longest|by length, shortest first]", "short"),
    ("[by their last letter|by final letter]", "last"),
)
SORT_ASKS = (
    "[Sort|Order|Arrange] {how}: {w}", "{w}\n\n[Please sort|Sort] these {how}.",
    "[Put|Bring] these words into order {how}: {w}", "{w}: what is the list {how}?",
    "[Here are|These are] {name}'s [password hints|quiz words]: {w}. List them {how}.",
    "The {group} [needs|wants] its [labels|stickers] sorted {how}. {w}",
    "[How do|How would] {w} [line up|stand] {how}?", "{w} - sorted {how}, [please|thanks].",
    "[Give|Hand] me the words {w} {how}.", "For a {hobby} [index|glossary], {how}: {w}",
)  # fmt: skip


def make_sort(rng: random.Random) -> Draft:
    how, order = rng.choice(SORT_ORDERS)
    words = rng.sample(LOOSE_WORDS, rng.randrange(5, 9))
    keys = {
        "az": lambda word: word,
        "za": lambda word: [-ord(letter) for letter in word] + [1],
        "short": lambda word: (len(word), word),
        "last": lambda word: (word[-1], word),
    }
    if order in ("short", "last"):
        # A tie would leave two right answers.
        basis = len if order == "short" else lambda word: word[-1]
        words = list({basis(word): word for word in words}.values())
        while len(words) < 4:
            extra = rng.choice(LOOSE_WORDS)
            if basis(extra) not in {basis(word) for word in words}:
                words.append(extra)
    done = sorted(words, key=keys[order])
    slots = draw(rng) | {"how": fill(rng, how), "w": ", ".join(words)}
    slip = list(done)
    at = rng.randrange(len(slip) - 1)
    slip[at], slip[at + 1] = slip[at + 1], slip[at]
    prompt = with_asides(rng, ask(rng, SORT_ASKS, **slots), 3)
    return Draft(prompt, ", ".join(done), ", ".join(slip), "two words are swapped")


# Right spelling, a usual misspelling, and a sentence that holds the word.
MISSPELLED = (
    ("receive", "recieve", "Did {name} receive the {colour} {item} on {day}?"),
    ("separate", "seperate", "Keep the {animal} in a separate pen from the {animal2}."),
    ("definitely", "definately", "The {group} will definitely meet in {town}."),
    ("necessary", "neccessary", "A {item} is necessary for {hobby} in {month}."),
    ("occurred", "occured", "The delay occurred after {reason} near {town}."),
    ("beginning", "begining", "{name} left at the beginning of {month}."),
    ("believe", "beleive", "I believe the {job} sold a {material} {item}."),
    ("weird", "wierd", "That {animal} makes a weird noise near the {building}."),
    ("tomorrow", "tommorow", "Bring some {food} to the {building} tomorrow."),
    ("until", "untill", "The {building} stays shut until {month}."),
    ("calendar", "calender", "{day} is marked in {colour} on the calendar."),
    ("friend", "freind", "My friend {name} keeps a {animal} called {name2}."),
    ("library", "libary", "The library in {town} lends out a {item}."),
    ("surprise", "suprise", "The {food} came as a surprise to the {job}."),
    ("government", "goverment", "The government sent a {job} to {town}."),
    ("environment", "enviroment", "A {material} {item} is kinder to the environment."),
    ("address", "adress", "Write the {town} address on the {colour} envelope."),
    ("argument", "arguement", "The argument about {hobby} lasted until {day}."),
    ("business", "buisness", "{name} runs a {hobby} business in {town2}."),
    ("committee", "commitee", "The committee of the {group} chose {name}."),
    ("disappear", "dissapear", "How did the {item} disappear from the {building}?"),
    ("embarrassed", "embarassed", "{name} felt embarrassed about the {food}."),
    ("familiar", "familar", "That {colour} {animal} looks familiar to {name}."),
    ("foreign", "foriegn", "The {job} collects foreign coins and {material} boxes."),
    ("grateful", "greatful", "We are grateful to the {group} for the {item}."),
    ("guarantee", "garantee", "The {item} comes with a guarantee of {n} years."),
    ("height", "heigth", "The height of the {building} is {big} metres."),
    ("immediately", "immediatly", "Because of {reason}, leave the {building} immediately."),
    ("independent", "independant", "An independent {job} from {town} checked it."),
    ("knowledge", "knowlege", "{name} has a deep knowledge of {hobby}."),
    ("neighbour", "nieghbour", "Our neighbour {name} lost a {animal} in {month}."),
    ("occasion", "ocassion", "On one occasion a {animal} ate the {food}."),
    ("possession", "posession", "Her dearest possession is a {material} {item}."),
    ("publicly", "publically", "{name} publicly thanked the {group} on {day}."),
    ("recommend", "reccomend", "I recommend the {food} at the {building}."),
    ("rhythm", "rythm", "The {group} lost the rhythm after {n} bars."),
    ("schedule", "shedule", "The {month} schedule hangs by the {building} door."),
    ("successful", "succesful", "It was a successful {day} for the {job}."),
    ("truly", "truely", "{town} is truly lovely in {month}."),
    ("which", "wich", "Tell {name} which {item} belongs to the {job}."),
    ("because", "becuase", "The {group} stayed home because of {reason}."),
    ("their", "thier", "The {group} painted their {item} {colour}."),
    ("February", "Febuary", "In February the {building} smells of {food}."),
    ("restaurant", "restaraunt", "A new restaurant in {town} serves {food}."),
    ("through", "throught", "The {animal} ran through the {building} on {day}."),
    ("interesting", "intresting", "The {year} map of {town} is interesting."),
)  # fmt: skip
SPELL_TAILS = (
    "",
    "",
    "{name2} told me so.",
    "It was {day2}.",
    "A {job2} saw it.",
    "That pleased the {group2}.",
    "Nobody in {town2} knew.",
    "We had {food2} after.",
)
SPELL_ASKS = (
    "[Fix|Correct] the spelling: {m}", "{m}\n\n[Spelling|Typo] check[, please|].",
    "[Is|Was] there a [typo|slip] in this? Write it right: {m}",
    "[Proofread|Check] {name}'s sentence. {m}", "{m} [Repair|Mend] the misspelt word.",
    "One word [here|below] is [spelt wrong|misspelt]; [return|give] the clean sentence.\n\n{m}",
    "[My|A] {hobby} [poster|flyer] says: \"{m}\" [Corrected|Without the typo], please?",
    "[Before|When] I print this for {town}, [fix|tidy] the spelling: {m}",
    "{m} <- [right|correct] the mistake", "Sentence with a typo: {m} Sentence without it?",
)  # fmt: skip

SPELL_PLEAS = (
    "", "", "[Only|Just] the sentence.", "{name} reads it on {day}.", "It hangs in the {building}.",
    "[Change|Touch] nothing else.", "The {group} prints {big} copies.",
)  # fmt: skip


def make_spelling(rng: random.Random) -> Draft:
    right, wrong, template = rng.choice(MISSPELLED)
    slots = draw(rng)
    sentence = fill(rng, template, **slots)
    tail = ask(rng, SPELL_TAILS, **slots)
    sentence = f"{sentence} {tail}".strip()
    head, mark, rest = sentence.partition(right)
    if not mark:
        head, mark, rest = sentence.partition(capital(right))
    typo = capital(wrong) if mark[0].isupper() else wrong
    request = ask(rng, SPELL_ASKS, **draw(rng), m=head + typo + rest)
    prompt = f"{request} {fill(rng, rng.choice(SPELL_PLEAS), **draw(rng))}".strip()
    return Draft(prompt, sentence, head + typo + rest, "the misspelling is still there")


# Word, a synonym, an antonym.
MEANINGS = (
    ("quick", "fast", "slow"),
    ("happy", "glad", "sad"),
    ("brave", "bold", "cowardly"),
    ("tiny", "minute", "huge"),
    ("begin", "start", "finish"),
    ("rich", "wealthy", "poor"),
    ("silent", "quiet", "noisy"),
    ("ancient", "old", "modern"),
    ("calm", "peaceful", "agitated"),
    ("difficult", "hard", "easy"),
    ("generous", "giving", "stingy"),
    ("polite", "civil", "rude"),
    ("reveal", "show", "hide"),
    ("permit", "allow", "forbid"),
    ("scarce", "rare", "plentiful"),
    ("expand", "grow", "shrink"),
    ("vacant", "empty", "occupied"),
    ("fragile", "delicate", "sturdy"),
    ("humble", "modest", "arrogant"),
    ("accept", "agree to", "refuse"),
    ("damp", "moist", "dry"),
    ("sharp", "keen", "blunt"),
    ("victory", "triumph", "defeat"),
    ("ally", "partner", "enemy"),
    ("bitter", "harsh", "sweet"),
    ("clumsy", "awkward", "graceful"),
    ("demolish", "wreck", "build"),
    ("eager", "keen", "reluctant"),
    ("faint", "weak", "strong"),
    ("gather", "collect", "scatter"),
    ("honest", "truthful", "deceitful"),
    ("idle", "inactive", "busy"),
    ("join", "connect", "divide"),
    ("lofty", "high", "low"),
    ("mend", "repair", "break"),
    ("novice", "beginner", "expert"),
    ("odd", "strange", "ordinary"),
    ("praise", "compliment", "criticise"),
    ("rapid", "swift", "gradual"),
    ("sturdy", "solid", "flimsy"),
    ("tidy", "neat", "messy"),
    ("vast", "immense", "tiny"),
    ("weary", "tired", "fresh"),
    ("assist", "help", "hinder"),
    ("conceal", "hide", "expose"),
    ("drowsy", "sleepy", "alert"),
    ("famous", "well-known", "obscure"),
    ("gloomy", "dark", "bright"),
    ("increase", "raise", "lower"),
    ("lengthy", "long", "brief"),
)
MEANING_SETTINGS = (
    "It's for a [card|poem|letter] about a {animal}.", "The {group} in {town} needs it by {day}.",
    "{name} and I [play|do] crosswords with a {job}.", "I'm [writing|editing] a piece on {hobby}.",
    "The {colour} sign at the {building} [uses|has] it.", "My {month} essay repeats it {n} times.",
    "It came up while we ate {food}.", "{name} [shouted|said] it near {town} on {day}.",
)  # fmt: skip
SYNONYM_ASKS = (
    "{k} [Another|A different] word for \"{w}\"?", "[Give|Name] me a synonym of {w}. {k}",
    "What means [nearly|much] the same as \"{w}\"? {k}", "{k} [Synonym|Word like] {w}, please.",
    "{w}: [one|a] synonym? {k}", "{k} Which word could [replace|stand in for] \"{w}\"?",
)  # fmt: skip
ANTONYM_ASKS = (
    "{k} What's the opposite of \"{w}\"?", "[Give|Name] an antonym for {w}. {k}",
    "{w} - [its|the] opposite? {k}", "{k} [Antonym|Contrary] of {w}, please.",
    "Which word [means the reverse|is the contrary] of \"{w}\"? {k}", "{k} Not {w} but ...?",
)  # fmt: skip
MEANING_ANSWERS = ("{x}", "{x}", '"{x}"', "One option is {x}.", "{x} fits.", "You can use {x}.")


def make_meaning(rng: random.Random) -> Draft:
    word, same, opposite = rng.choice(MEANINGS)
    lines = [fill(rng, line, **draw(rng)) for line in rng.sample(MEANING_SETTINGS, 2)]
    form = rng.choice(MEANING_ANSWERS)
    if rng.random() < 0.5:
        right, wrong, asks, slip = same, opposite, SYNONYM_ASKS, "this is an antonym"
    else:
        right, wrong, asks, slip = opposite, same, ANTONYM_ASKS, "this is a synonym"
    prompt = ask(rng, asks, k=" ".join(lines), w=word)
    return Draft(
        capital(prompt), capital(form.format(x=right)), capital(form.format(x=wrong)), slip
    )


# Past tense, participle, and what can undergo it.
DEEDS = (
    ("wrote", "written", ("letter", "song", "report", "recipe")),
    ("broke", "broken", ("window", "vase", "record", "chair")),
    ("stole", "stolen", ("wallet", "painting", "bicycle", "trophy")),
    ("drew", "drawn", ("map", "portrait", "floor plan", "cartoon")),
    ("chose", "chosen", ("colour", "winner", "menu", "route")),
    ("found", "found", ("key", "coin", "scarf", "ring")),
    ("built", "built", ("shed", "bridge", "wall", "boat")),
    ("taught", "taught", ("course", "lesson", "class", "workshop")),
    ("sold", "sold", ("farm", "cottage", "piano", "van")),
    ("sang", "sung", ("anthem", "lullaby", "ballad", "chorus")),
    ("threw", "thrown", ("ball", "rope", "party", "javelin")),
    ("ate", "eaten", ("pie", "sandwich", "melon", "biscuit")),
    ("drove", "driven", ("tractor", "ambulance", "minibus", "taxi")),
    ("hid", "hidden", ("present", "treasure", "diary", "map")),
    ("painted", "painted", ("fence", "door", "mural", "sign")),
    ("cleaned", "cleaned", ("kitchen", "engine", "stable", "oven")),
    ("repaired", "repaired", ("roof", "radio", "clock", "pump")),
    ("opened", "opened", ("parcel", "gate", "exhibition", "shop")),
    ("carried", "carried", ("crate", "banner", "ladder", "sofa")),
    ("cancelled", "cancelled", ("concert", "trip", "order", "match")),
    ("baked", "baked", ("loaf", "cake", "pizza", "quiche")),
    ("delivered", "delivered", ("parcel", "speech", "piano", "fridge")),
    ("planted", "planted", ("oak", "hedge", "rosebush", "vineyard")),
    ("signed", "signed", ("contract", "petition", "card", "lease")),
    ("translated", "translated", ("novel", "poem", "manual", "notice")),
    ("mixed", "mixed", ("dough", "paint", "salad", "cement")),
)
VOICE_WHEN = (
    "on {day}",
    "in {month}",
    "before {day}",
    "near {town}",
    "at the {building}",
    "last {month}",
    "because of {reason}",
    "for the {group}",
    "after the {hobby} class",
    "in {year}",
    "with {name2}",
)
PASSIVE_ASKS = (
    "[Make|Turn] this [active|into active voice]: {m}", "{m} [Active|In the active] voice, please.",
    "[Rewrite|Rephrase] without the passive. {m}", "[Who did it?|Doer first, please.] {m}",
    "{name}'s [editor|teacher] dislikes passives. {m}", "Passive: {m}\nActive:",
    "[Change|Switch] the passive [sentence|line] to active.\n\n{m}", "{m} Say it actively.",
    "For the {town} [paper|newsletter], make \"{m}\" active.",
    "[Grammar|Style] [task|exercise] from {name}: active voice for {m}",
)  # fmt: skip
ACTIVE_ASKS = (
    "[Make|Turn] this passive: {m}", "{m} Now in the passive [voice|], please.",
    "Active: {m}\nPassive:", "[How is|What's] this [one|] in passive voice? {m}",
)  # fmt: skip


def make_voice(rng: random.Random) -> Draft:
    past, participle, things = rng.choice(DEEDS)
    slots = draw(rng)
    adjective = rng.choice((slots["colour2"], slots["material2"], "old", "new", "large", "famous"))
    doer, thing = rng.choice((slots["name"], f"the {slots['job']}")), rng.choice(things)
    extra = " ".join(
        fill(rng, when, **slots) for when in rng.sample(VOICE_WHEN, rng.choice((1, 2)))
    )
    thing = f"the {adjective} {thing}"
    active = capital(f"{doer} {past} {thing} {extra}.")
    passive = capital(f"{thing} was {participle} by {doer} {extra}.")
    turned = capital(f"{thing} {past} {doer} {extra}.")
    if rng.random() < 0.75:
        prompt = with_asides(rng, ask(rng, PASSIVE_ASKS, **draw(rng), m=passive), 2)
        return Draft(prompt, active, turned, "doer and thing are exchanged")
    prompt = with_asides(rng, ask(rng, ACTIVE_ASKS, m=active), 2)
    wrong = capital(f"{doer} was {participle} by {thing} {extra}.")
    return Draft(prompt, passive, wrong, "doer and thing are exchanged")


DEMANDS = (
    "send the {item} invoice",
    "fix the {colour} {item}",
    "clear your {food} off the table",
    "return the {item} you borrowed",
    "tell {name} about {reason}",
    "move your {vehicle}",
    "book the {building}",
    "water the plants in {town}",
    "feed the {animal}",
    "print {big} flyers",
    "sign the {hobby} form",
    "call the {job} in {town}",
    "order {n} boxes of {material} tiles",
    "turn down the music",
    "sweep the {building} steps",
    "bring the {material} samples",
    "collect {name} from {town}",
    "update the {group} list",
    "explain {reason} to {name}",
    "stop parking by the {building}",
    "pay the {job}",
    "reply to the {group}",
    "shut the {colour} gate",
    "pack the {item} for {name}",
    "learn the {hobby} rules",
    "finish the {month} report",
)
VEHICLES = ("van", "car", "motorbike", "trailer", "camper", "tractor")
BLUNT = (
    "{do} by {day}!", "I told you to {do} by {day}.", "{do} by {day} or else.",
    "Why can't you just {do} by {day}?", "{do} by {day}, and [no excuses|hurry up].",
    "You had better {do} by {day}.", "[Listen|Oi], {do} by {day}.", "Must I beg? {do} by {day}!",
)  # fmt: skip
KIND = (
    "Could you please {do} by {day}? Thank you.", "Would you be able to {do} by {day}, please?",
    "When you have a moment, could you {do} by {day}? Many thanks.",
    "I'd be grateful if you could {do} by {day}.", "Please could you {do} by {day}? It would help.",
    "Would you kindly {do} by {day}? I appreciate it.",
)  # fmt: skip
POLITE_ASKS = (
    "[Make|Say] this [politely|nicer]: {m}", "{m}\n\n[Kinder|Softer] [wording|tone], please.",
    "[I wrote|My draft to {name}:] \"{m}\" [Too rude?|Rather harsh.] Rewrite it [kindly|politely].",
    "[Tone down|Soften] this note to the {group}: {m}", "{m} [How|What] would a polite {job} say?",
    "[Rude|Blunt]: {m} Polite:", "[Rephrase|Reword] with [good manners|courtesy]. {m}",
    "For an office in {town}, make this [civil|courteous]: {m}",
    "{name} [got cross|was hurt] when I said \"{m}\" Give me a [gentle|friendly] version.",
    "{m} [Polite|Friendly] version?",
)  # fmt: skip


def make_polite(rng: random.Random) -> Draft:
    slots = draw(rng) | {"vehicle": rng.choice(VEHICLES)}
    demand = ask(rng, DEMANDS, **slots)
    day = slots["day"]
    blunt = rng.choice(BLUNT)
    demanded = capital(demand) if blunt.startswith("{do}") or "? {do}" in blunt else demand
    rude = fill(rng, blunt, do=demanded, day=day)
    kind = rng.choice(KIND)
    prompt = with_asides(rng, ask(rng, POLITE_ASKS, **draw(rng), m=rude), 1)
    late = other_than(rng, SLOTS["day"], day)
    return Draft(prompt, kind.format(do=demand, day=day), kind.format(do=demand, day=late),
                 "the day has changed")  # fmt: skip


FAMILIES = (
    Family("sort_words", "put words in a stated order", 56, make_sort),
    Family("spelling_fix", "correct one misspelt word", 54, make_spelling),
    Family("synonym_antonym", "a word of the same or the opposite meaning", 52, make_meaning),
    Family("voice_change", "passive to active voice, sometimes the reverse", 54, make_voice),
    Family("polite_rewrite", "a blunt demand said politely", 54, make_polite),
)
