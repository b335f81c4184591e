"""Tasks whose answers are written by hand: ideas, explanations, shell and regex help."""

# ruff: noqa: E501
# One hand-written text to a line is easier to review than wrapped strings.

from __future__ import annotations

import random

from .base import Draft, Family, ask, capital, fill
from .words import draw, with_asides

IDEAS: dict[str, tuple[str, ...]] = {
    "a rainy afternoon": ("bake a loaf", "sort old photos", "build a pillow fort", "learn a card trick", "write to a cousin"),
    "using up stale bread": ("croutons", "bread pudding", "crumbs for a gratin", "French toast", "bread soup"),
    "a cheap birthday present": ("a potted cutting", "a mix of songs", "home-made fudge", "a framed snapshot", "a voucher for a walk"),
    "names for a rowing boat": ("Patient Otter", "Second Breakfast", "Windfall", "Little Thunder", "Sunday Blue"),
    "a school science stand": ("a lemon battery", "a jar of sinking and floating things", "a homemade rain gauge", "seeds under coloured light", "a cup telephone"),
    "saving water at home": ("shower with a timer", "fix the dripping tap", "collect rain for plants", "fill the washer fully", "cover the pond"),
    "a quiet corner in an office": ("a thick rug", "a tall plant as a screen", "a no-phones sign", "a warm lamp", "a shelf of books"),
    "things to draw in a cafe": ("hands around a cup", "the queue from behind", "coats on a rack", "the menu board", "a sleeping dog"),
    "a first camping trip": ("pitch the tent once at home", "pack a spare torch", "choose a site near a tap", "bring dry socks", "cook one-pot meals"),
    "getting up earlier": ("move the alarm across the room", "open the curtains at night", "plan a nice breakfast", "go to bed at ten", "lay out your clothes"),
    "a village fundraiser": ("a plant swap", "a sponsored silence", "a soup lunch", "a duck race", "an auction of promises"),
    "thanking a neighbour": ("bring jam", "mow their strip of grass", "write a short note", "water their pots", "invite them for tea"),
    "games for a long drive": ("spot five yellow cars", "make words from number plates", "guess the next song", "twenty questions", "a story one line each"),
    "filling a small balcony": ("herbs in a ladder rack", "a folding chair", "a string of lights", "beans on a net", "a bird feeder"),
    "a slow computer": ("close spare tabs", "remove old programs", "restart it", "check the free disk space", "turn off autostart items"),
    "a podcast for beginners": ("sounds from one street", "mistakes I learned from", "one object, one story", "letters read aloud", "a walk with a guest"),
    "learning ten words a day": ("sticky labels at home", "a song with the words", "cards in a pocket", "a diary line for each", "a quiz at supper"),
    "a winter soup": ("leek and potato", "red lentil with lemon", "roast squash", "barley and mushroom", "white bean and kale"),
    "a shy new colleague": ("share a coffee", "show them the shortcuts", "ask about their weekend", "sit together at lunch", "give praise early"),
    "reusing glass jars": ("store screws", "start seedlings", "make a lantern", "keep salad dressing", "layer dry soup mix"),
    "a short story opening": ("a key arrives by post", "the river runs backwards", "two people claim one seat", "the clock skips noon", "a stranger knows your name"),
    "resting your eyes at work": ("look out of the window", "blink on purpose", "dim the screen", "walk during calls", "print long texts"),
    "a picnic without a fridge": ("flatbread with hummus", "whole fruit", "oat bars", "roast nuts", "tomato salad in a jar"),
    "a tidy desk": ("one tray for paper", "cables in a box", "clear it every Friday", "only one pen pot", "a drawer for odd bits"),
    "making a walk less dull": ("take a new turn", "count the door colours", "collect leaves", "photograph one shape", "walk it backwards"),
    "what to do with old T-shirts": ("cut dust cloths", "sew a tote bag", "braid a dog toy", "stuff a cushion", "print a new motif"),
    "calming down before a talk": ("breathe out slowly", "test the microphone", "learn the first line", "sip warm water", "smile at someone you know"),
    "mascots for a chess team": ("a knitted knight", "a thoughtful owl", "a rook in boots", "a snail with a crown", "a patient heron"),
}  # fmt: skip
IDEA_ASKS = (
    "[Give|Tell] me three ideas for {t}.", "[I need|We need] ideas: {t}. Three [are enough|will do].",
    "Three [suggestions|thoughts] on {t}, please.", "[Brainstorm|Think about] {t} with me. Top three?",
    "[Any|Have you] ideas for {t}? [List|Name] three.", "{t}: what are three [options|ways]?",
    "List three [things|ideas] for {t}.", "[Help me with|I'm stuck on] {t}. Three [tips|hints]?",
    "[Short|Quick] list, three points: {t}.",
)  # fmt: skip
IDEA_LAYOUTS = (
    "1. {a}\n2. {b}\n3. {c}",
    "- {a}\n- {b}\n- {c}",
    "{a}; {b}; {c}",
    "{a}, {b}, or {c}",
)


def idea_list(rng: random.Random, topic: str, layout: str) -> str:
    a, b, c = rng.sample(IDEAS[topic], 3)
    return layout.format(a=capital(a), b=b, c=c)


def make_ideas(rng: random.Random) -> Draft:
    topic, other = rng.sample(tuple(IDEAS), 2)
    layout = rng.choice(IDEA_LAYOUTS)
    prompt = with_asides(rng, ask(rng, IDEA_ASKS, t=topic), 2)
    wrong = idea_list(rng, other, layout)
    return Draft(prompt, idea_list(rng, topic, layout), wrong, f"these are ideas for {other}")


CONCEPTS: dict[str, str] = {
    "gravity": "Gravity is the pull between things that have mass. The Earth is so heavy that it pulls everything near it down.",
    "inflation": "Inflation means that prices rise over time, so the same money buys less than it did a year ago.",
    "a shadow": "A shadow is the dark patch behind an object that blocks the light coming from the other side.",
    "evaporation": "When water warms up, some of it turns into vapour and drifts into the air. That is how puddles vanish.",
    "a password manager": "It is a locked box for your passwords. You remember one strong phrase and it remembers the rest.",
    "yeast": "Yeast is a tiny living fungus. It eats sugar in the dough and gives off gas, which makes bread rise.",
    "a budget": "A budget is a plan for your money: what comes in, what goes out, and what you want to keep.",
    "the seasons": "The Earth leans as it circles the Sun. The half that leans towards the Sun has summer, the other half winter.",
    "an echo": "An echo is sound that bounced off a hard surface, such as a cliff, and came back to your ears later.",
    "recycling": "Recycling turns used material such as glass or paper into something new, so that less has to be dug up or cut down.",
    "a vaccine": "A vaccine shows your body a harmless piece of a germ, so that it can recognise and fight the real one faster.",
    "magnetism": "Magnets have two poles. Opposite poles attract, equal poles push apart, and iron is pulled by either.",
    "compound interest": "You earn interest on your savings and then also on the interest already earned, so the sum grows faster and faster.",
    "a fossil": "A fossil is the trace of a creature that died long ago, kept in rock because mud buried it quickly.",
    "tides": "The Moon pulls on the oceans. The water bulges, and as the Earth turns, the coast moves in and out of the bulge.",
    "a backup": "A backup is a second copy of your files kept elsewhere, so that a broken disk does not cost you everything.",
    "friction": "Friction is the rubbing force between two surfaces. It slows sliding things down and makes them warm.",
    "a rainbow": "Raindrops bend sunlight and split it into colours. You see the colours when the Sun is behind you.",
    "a deadline": "A deadline is the latest moment by which a piece of work must be handed in.",
    "insulation": "Insulation is material full of tiny air pockets. Heat passes through it slowly, so a house stays warm.",
    "pollination": "Insects or wind carry pollen from one flower to another, and only then can the plant make seeds.",
    "an algorithm": "An algorithm is a list of exact steps for solving a problem, much like a recipe for a cook.",
    "supply and demand": "If many people want something scarce, its price goes up. If there is plenty and few want it, the price falls.",
    "a lever": "A lever is a stiff bar on a pivot. Pushing the long end a long way lifts a heavy load at the short end a little.",
    "the water cycle": "Sea water evaporates, forms clouds, falls as rain, runs down rivers and reaches the sea, where it starts over.",
    "a metaphor": "A metaphor describes one thing as if it were another, for instance calling a busy street a river.",
    "hibernation": "Some animals sleep through the winter. Their hearts beat slowly and they live on the fat they ate in autumn.",
    "a mortgage": "A mortgage is a long loan for a home. If you stop paying it back, the bank may take the house.",
    "static electricity": "Rubbing two things can move tiny charges from one to the other. The charge jumps back as a spark.",
    "a prime number": "A prime number has exactly two divisors, one and itself. Seven is prime, but eight is not.",
    "photosynthesis": "Leaves use sunlight to make sugar from water and air, and they give off oxygen while doing so.",
    "a time zone": "The Sun rises at different moments around the globe, so regions set their clocks to match their own daylight.",
    "rust": "Iron that meets water and air slowly turns into a flaky brown stuff, and we call that rust.",
    "insurance": "Many people pay a little each. Whoever has bad luck, such as a fire, is paid from the common pot.",
    "a browser cookie": "It is a small note that a website leaves in your browser, so that it knows you on your next visit.",
    "erosion": "Wind and water carry away grains of soil and rock. Over many years that can carve a valley.",
    "an eclipse": "In a solar eclipse the Moon passes between us and the Sun and hides it for some minutes.",
    "a byte": "A byte is eight bits, that is eight switches on or off, and it can hold one of 256 values.",
    "camouflage": "Camouflage is a pattern or colour that makes an animal look like its surroundings, so that others miss it.",
    "boiling": "At boiling point bubbles of vapour form all through the water, not only at its surface.",
    "a vote by secret ballot": "Everyone marks a paper unseen and drops it in a box, so nobody can be punished for a choice.",
    "a placebo": "A placebo looks like medicine but holds nothing active. Testers compare it with the real drug.",
}  # fmt: skip
CONCEPT_ASKS = (
    "[Explain|Describe] {t} [to a child|simply].", "What is [meant by|the idea of] {t}?",
    "[Can|Could] you tell me about {t} [in plain words|in short]?",
    "{t}, [explained simply|in simple terms]?", "I never [understood|got] {t}. [Help|Explain]?",
    "[In two sentences|Briefly]: {t}.", "How would you explain {t} [to {name}|to a {job}]?",
    "[Please define|Define] {t} for [a beginner|the {group}].", "[Teach|Tell] {name} about {t}.",
)  # fmt: skip


def make_concept(rng: random.Random) -> Draft:
    topic, other = rng.sample(tuple(CONCEPTS), 2)
    prompt = with_asides(rng, ask(rng, CONCEPT_ASKS, **draw(rng), t=topic), 2)
    return Draft(prompt, CONCEPTS[topic], CONCEPTS[other], f"this explains {other}")


COMMANDS: tuple[tuple[str, str], ...] = (
    ("count the lines of {f}", "Use `wc -l {f}`."),
    ("show the last {n} lines of {f}", "Use `tail -n {n} {f}`."),
    ("follow {f} while it grows", "Run `tail -f {f}`; stop it with Ctrl-C."),
    ("find every {e} file below {d}", "Try `find {d} -name '*.{e}'`."),
    ("make {s} executable", "`chmod +x {s}` does it."),
    ("see how big {d} is", "`du -sh {d}` prints its total size."),
    ("pack {d} into one compressed archive", "`tar czf {d}.tar.gz {d}` writes the archive."),
    ("unpack {d}.tar.gz", "`tar xzf {d}.tar.gz` unpacks it here."),
    ("search for {w} in all files below {d}", "`grep -rn {w} {d}` lists file, line and match."),
    ("remove the empty folder {d}", "`rmdir {d}` removes it only if it is empty."),
    ("copy {d} with everything in it to {d2}", "`cp -r {d} {d2}` copies it with its content."),
    ("rename {f} to {w}.txt", "`mv {f} {w}.txt` renames it."),
    ("sort {f} and drop repeated lines", "`sort -u {f}` sorts and drops repeats."),
    ("take the {nth} column of a comma-separated {f}", "`cut -d, -f{n} {f}` prints it."),
    ("see which program listens on port {p}", "`lsof -i :{p}` shows it, perhaps only for root."),
    ("compare {f} with {w}.txt", "`diff {f} {w}.txt` shows the lines that differ."),
    ("replace {w} by {w2} in {f}", "`sed -i 's/{w}/{w2}/g' {f}` edits the file in place."),
    ("see my current folder", "`pwd` prints it."),
    ("list files by time, newest first, in {d}", "`ls -lt {d}` does that."),
    ("make the nested folders {d}/{w}", "`mkdir -p {d}/{w}` makes both."),
    ("see the free disk space", "`df -h` lists it for every disk."),
    ("set the variable {v} to {n} for later commands", "`export {v}={n}` sets it in this shell."),
    ("run {s} every day at {h} o'clock", "Add `0 {h} * * * {s}` with `crontab -e`."),
    ("end the process with the id {p}", "`kill {p}` asks it to stop."),
    ("save the output of {s} in {f}", "`./{s} > {f}` writes it there, replacing old content."),
    ("link {w} to {d}", "`ln -s {d} {w}` makes a symbolic link."),
    ("a regex for exactly {n} digits", "Use `^\\d{{{n}}}$`."),
    ("a regex for a line that starts with {w}", "`^{w}` matches it."),
    ("a regex for {w} or {w2} as whole words", "`\\b({w}|{w2})\\b` matches either."),
    ("a regex for lines ending in .{e}", "`\\.{e}$` does; the dot needs the backslash."),
    ("a regex for an empty line", "`^$` matches a line with nothing in it."),
    ("a regex for {n} or more capital letters", "`[A-Z]{{{n},}}` matches such a run."),
    ("show lines of {f} without {w}", "`grep -v {w} {f}` leaves them out."),
    ("count how often {w} occurs in {f}", "`grep -o {w} {f} | wc -l` counts the matches."),
    ("print line {p} of {f}", "`sed -n {p}p {f}` prints only that line."),
    ("download a page and keep it as {f}", "`curl -o {f} URL` saves it."),
)  # fmt: skip
SHELL_ASKS = (
    "[Which|What] command [do I need|helps] to {t}?", "[How do I|How can I] {t} [in a shell|on Linux]?",
    "[Terminal|Shell] help: I want to {t}.", "{name} [wants|has] to {t}. [Command|How]?",
    "[Quick|Small] one: {t}, on the command line.", "I [forgot|lost my note on] how to {t}.",
    "[Is there|Do you know] a one-liner to {t}?", "[In bash|With standard tools], {t}: how?",
    "On the {building} server I [must|need to] {t}. [What do I type|How]?",
)  # fmt: skip
REGEX_ASKS = (
    "I [need|want] {t}.", "[Write|Give] me {t}.", "{name} [asks|looks] for {t}.",
    "[What is|What would be] {t}?", "[Pattern|Regex] help: {t}.", "For a {hobby} list: {t}?",
    "[Could|Can] you [show|build] {t}?", "{t}, [please|thanks].",
)  # fmt: skip
VARIABLES = ("DEPTH", "RETRIES", "PAGES", "WORKERS", "LIMIT")
ENDINGS = ("csv", "log", "md", "py", "png", "txt")
ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def shell_slots(rng: random.Random) -> dict[str, str]:
    words = draw(rng)
    column = rng.choice(tuple(ORDINALS))
    return {
        "f": f"{words['item']}s.{rng.choice(ENDINGS)}", "d": words["hobby"], "d2": words["hobby2"],
        "e": rng.choice(ENDINGS), "n": str(column), "nth": ORDINALS[column], "w": words["animal"],
        "w2": words["animal2"], "s": f"{words['job']}.sh", "p": str(rng.randrange(300, 9000)),
        "v": rng.choice(VARIABLES), "h": str(rng.randrange(1, 23)),
    }  # fmt: skip


def make_shell(rng: random.Random) -> Draft:
    (task, answer), (other_task, other) = rng.sample(COMMANDS, 2)
    slots = shell_slots(rng)
    task = fill(rng, task, **slots)
    regex = task.startswith("a regex")
    request = ask(rng, REGEX_ASKS if regex else SHELL_ASKS, **draw(rng), t=task)
    # Not through fill: the answers hold brackets of their own.
    right, wrong = answer.format(**slots), other.format(**slots)
    reason = f"this is for another task: {other_task.format(**slots)}"
    return Draft(with_asides(rng, request, 2), right, wrong, reason)


FAMILIES = (
    Family("idea_list", "three ideas for a purpose", 38, make_ideas),
    Family("explain_concept", "a simple concept explained", 40, make_concept),
    Family("shell_help", "a shell command or a regular expression", 46, make_shell),
)
