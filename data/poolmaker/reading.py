"""Tasks about a short text: sentiment, headline topics, questions, one-sentence summaries."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .base import Draft, Family, ask, capital, fill, other_than
from .words import draw, with_asides

PRAISE = (
    "The {item} [arrived|came] a day early and works [perfectly|like a dream].",
    "[Best|Finest] {food} I have had in {town}.",
    "The {job} was [patient|charming] and fixed it in {n} minutes.",
    "I would [buy|pick] the {colour} one again [tomorrow|at once].",
    "Our {animal} loves it, and so do we.",
    "The {material} feels solid after {big} days of hard use.",
    "[Staff|People] at the {building} went out of their way for us.",
    "{name} [smiled|beamed] all through the {hobby} class.",
    "Worth every coin, even at {big}.",
    "The seats were soft and the view of {town2} [lovely|superb].",
    "[Setup|Assembly] took {n} minutes and the guide is clear.",
    "A gift for {name2}, who now uses it every {day}.",
    "The {group} gave a warm, funny show.",
    "[Quiet|Silent], light and easy to clean.",
    "They replaced a scratched part free of charge within {n2} hours.",
    "Such a cosy room, with fresh {food2} at breakfast.",
)
BLAME = (
    "The {item} [broke|cracked] after {n} days.",
    "[Cold|Stale] {food}, and we waited {big} minutes for it.",
    "The {job} was [rude|careless] and left before the end.",
    "The {colour} paint [came off|peeled] in the rain.",
    "Even the {animal} refuses to go near it.",
    "The {material} smells [awful|odd] and scratches easily.",
    "[Nobody|No one] at the {building} answered our {n2} calls.",
    "{name} fell asleep during the {hobby} demo, it was so dull.",
    "A waste of {big} coins.",
    "The room faced a noisy car park in {town2} and the tap dripped.",
    "[Setup|Assembly] took {n} hours because the guide skips steps.",
    "I returned it on {day} and still wait for my money.",
    "The {group} forgot half the lines and blamed the lights.",
    "[Loud|Shaky], heavy and impossible to clean.",
    "The refund form asks for {n2} papers that do not exist.",
    "Mould on the wall and yesterday's {food2} at breakfast.",
)
SENTIMENT_ASKS = (
    "[Is|Was] this [review|comment] positive, negative or mixed?\n\n{m}",
    "{m}\n\n[Sentiment|Mood]?", "[Label|Tag] the mood of this review: {m}",
    "[Positive|Good], negative or mixed? {m}", "[Review|Feedback] from {name}: {m} Sentiment?",
    "{m} [How|In what mood] does the [writer|customer] feel?",
    "[Classify|Rate] the feedback on our {building}: {m}", "[Judge|Read] the tone. {m}",
    "A guest in {town} wrote: \"{m}\" [Happy|Satisfied] or not?",
    "[Sort|File] this under positive, negative or mixed: {m}",
)  # fmt: skip
SENTIMENT_ANSWERS = ("{x}", "Sentiment: {x}", "This is {x}.", "{x}.")


def make_sentiment(rng: random.Random) -> Draft:
    label = rng.choice(("positive", "positive", "negative", "negative", "mixed"))
    slots = draw(rng)
    if label == "mixed":
        lines = [rng.choice(PRAISE), rng.choice(BLAME)]
        rng.shuffle(lines)
        lines[1] = "But then: " + lines[1]
    else:
        lines = rng.sample(PRAISE if label == "positive" else BLAME, rng.choice((1, 2, 2)))
    review = " ".join(fill(rng, line, **slots) for line in lines)
    prompt = with_asides(rng, ask(rng, SENTIMENT_ASKS, **draw(rng), m=review), 1)
    form = rng.choice(SENTIMENT_ANSWERS)
    slip = "positive" if label == "negative" else "negative"
    right, wrong = (capital(form.format(x=x)) for x in (label, slip))
    return Draft(prompt, right, wrong, "the label is wrong")


HEADLINES: dict[str, tuple[str, ...]] = {
    "sport": (
        "{town} [beat|edge past|crush] {town2} {n}-{n2} in {day} [thriller|derby]",
        "{name} [wins|takes] {month} marathon in {town} by {big} seconds",
        "Coach [quits|leaves] {town} after {n} defeats [in a row|running]",
        "{colour} jersey [returns|goes] to {name} after mountain stage",
        "Teen {hobby} champion {name} [eyes|targets] {town2} trophy",
        "{n} red cards as {town} and {town2} draw",
        "Goalkeeper {name} out for {n} weeks [with knee injury|after fall]",
    ),
    "business": (
        "{item} maker in {town} [cuts|adds] {big} jobs",
        "{material} prices [climb|slide] {n} percent [in|during] {month}",
        "{town} bank [buys|swallows] rival for {big} million",
        "Start-up by {name} [raises|collects] {n} million for smart {item}s",
        "{food} chain to [open|close] {big} shops by {month}",
        "Shares in {colour} {item} firm [jump|sink] after profit [warning|news]",
        "Strike at {town} {material} plant enters week {n}",
    ),
    "science": (
        "Researchers [find|spot] {colour} {animal} species near {town}",
        "Probe sends back {big} images of icy moon",
        "{material} that [heals|cools] itself [developed|made] in {town} lab",
        "Fossil {animal} found by {job} is {big} million years old",
        "Telescope near {town} [sees|catches] star swallow planet",
        "Study: {animal}s can count to {n}",
        "Team led by {name} maps {big} genes of the {animal}",
    ),
    "weather": (
        "[Snow|Hail] to hit {town} and {town2} from {day}",
        "{month} [hottest|wettest] in {big} years, forecasters say",
        "Gale warning [issued|extended] for {town} coast until {day}",
        "Fog [grounds|delays] {big} flights near {town}",
        "{town} [braces|prepares] for {n} days of frost",
        "Sunny spell to end by {day} as showers reach {town2}",
        "Lightning [strikes|damages] {building} roof in {town}",
    ),
    "politics": (
        "{town} council [votes|splits] {n2}-{n} on {building} tax",
        "Mayor {name} [resigns|steps down] over {material} contract",
        "Minister [promises|rejects] vote on {town} by {month}",
        "Poll: {big} percent [back|oppose] new {animal} law",
        "Opposition [walks out|storms off] in {building} budget row",
        "Parliament [passes|delays] bill on {hobby} licences",
        "Candidate {name} [leads|trails] in {town2} election race",
    ),
    "health": (
        "Clinic in {town} [offers|gives] free [eye|hearing] tests on {day}",
        "Doctors link {hobby} to [better sleep|lower blood pressure]",
        "Flu cases [double|fall] in {town} [hospitals|schools]",
        "{n} minutes of {hobby} a day may [ease|cut] back pain",
        "New vaccine trial [needs|seeks] {big} volunteers in {town2}",
        "Nurses in {town} [warn|speak out] on long waiting lists",
        "Too much {food} raises heart risk, says {town} study",
    ),
    "arts": (
        "{town} museum [shows|unveils] {big} {material} sculptures",
        "Novel about a {job} [wins|takes] {month} book prize",
        "Singer {name} [adds|cancels] {n} concerts in {town}",
        "{colour} portrait by unknown painter [sells|turns up] in {town}",
        "Film on {hobby} [opens|closes] {town2} festival",
        "Theatre in {town} [stages|revives] comedy about a {animal}",
        "{group} from {town} [records|releases] first album",
    ),
}
HEADLINE_ASKS = (
    "[Which|What] [section|page] does this headline belong to? {m}", "Headline: {m}\nTopic:",
    "[Topic|Subject] of \"{m}\"?", "[File|Sort] this headline by topic for {name}.\n\n{m}",
    "{m} - [sport, business, science, weather, politics, health or arts|which topic]?",
    "I [clip|collect] news for a {group}. \"{m}\" Topic, please.",
    "[Tag|Label] the news item: {m}", "{m}\n\n[One|A one-word] topic, please.",
    "The {town3} paper [printed|ran] \"{m}\" [Under which|In which] topic?",
    "[Newsroom|Desk] check. \"{m}\" Whose section?",
)  # fmt: skip
HEADLINE_ANSWERS = ("{x}", "Topic: {x}", "It belongs to {x}.", "{x}.")


def make_headline(rng: random.Random) -> Draft:
    topic = rng.choice(tuple(HEADLINES))
    slots = draw(rng)
    lines = rng.sample(HEADLINES[topic], rng.choice((1, 2, 2)))
    line = " - ".join(capital(fill(rng, template, **slots)) for template in lines)
    request = ask(rng, HEADLINE_ASKS, **draw(rng), town3=draw(rng)["town"], m=line)
    prompt = with_asides(rng, request, 2)
    form = rng.choice(HEADLINE_ANSWERS)
    slip = other_than(rng, tuple(HEADLINES), topic)
    right, wrong = (capital(form.format(x=x)) for x in (topic, slip))
    return Draft(prompt, right, wrong, "the topic is wrong")


@dataclass(frozen=True)
class Scene:
    """A short text over the common slots, questions on it, and its one-sentence summary."""

    text: str
    questions: tuple[tuple[str, str], ...]
    summary: str


SCENES = (
    Scene(
        "The {building} in {town} [shuts|will shut] for {n} weeks from {month} because of "
        "{reason}. A {job} found the fault on {day}. [Visitors|People] can use the one in {town2}.",
        (
            ("Why does it shut?", "Because of {reason}."),
            ("For how long?", "For {n} weeks."),
            ("Where can people go instead?", "To the one in {town2}."),
        ),
        "The {building} in {town} closes for {n} weeks from {month} because of {reason}.",
    ),
    Scene(
        "{name} found a {colour} {animal} behind the {building} on {day}. It had hurt a paw, so a "
        "{job} [took|carried] it to {town}. It eats {food} now.",
        (
            ("What did {name} find?", "A {colour} {animal}."),
            ("Who took it to {town}?", "A {job}."),
            ("What does the animal eat?", "It eats {food}."),
        ),
        "An injured {colour} {animal} that {name} found was taken to {town} by a {job}.",
    ),
    Scene(
        "The {group} [raised|collected] {big} coins at its {month} fair. Most came from selling "
        "{food}. The money will buy a {item} for the {building}.",
        (
            ("How much was raised?", "{big} coins."),
            ("What was sold most?", "Mostly {food}."),
            ("What will the money buy?", "A {item} for the {building}."),
        ),
        "The {group} raised {big} coins at its {month} fair to buy a {item} for the {building}.",
    ),
    Scene(
        "In {year} a {job} called {name} [moved|came] to {town} to teach {hobby}. [Only|Just] {n} "
        "pupils [came|turned up] at first. Today the school has {big}.",
        (
            ("When did {name} come to {town}?", "In {year}."),
            ("What did {name} teach?", "{hobby}."),
            ("How many pupils are there today?", "{big}."),
        ),
        "The {hobby} school that {name} began in {town} grew from {n} to {big} pupils.",
    ),
    Scene(
        "Two {material} bridges cross the river at {town}. The older, [built|finished] in {year}, "
        "is painted {colour}. After {reason} last {month}, only the newer one is open.",
        (
            ("What are the bridges made of?", "{material}."),
            ("What colour is the older?", "{colour}."),
            ("Is the older bridge open?", "No."),
        ),
        "Since {reason} last {month}, only the newer {material} bridge at {town} is open.",
    ),
    Scene(
        "{name} and {name2} share a {item}. {name} uses it for {hobby} on {day}, {name2} for "
        "{hobby2} on {day2}. [It|The thing] is kept at the {building}.",
        (
            ("Who uses it on {day2}?", "{name2}."),
            ("Where is it kept?", "At the {building}."),
            ("What does {name} use it for?", "For {hobby}."),
        ),
        "{name} and {name2} share a {item}, one for {hobby} and the other for {hobby2}.",
    ),
    Scene(
        "The train from {town} to {town2} was {big} minutes late on {day}. [The driver|Staff] "
        "blamed {reason}. [Passengers|Riders] got free {food} while they waited.",
        (
            ("How late was the train?", "{big} minutes."),
            ("What did passengers get?", "Free {food}."),
            ("Was the train on time?", "No."),
        ),
        "{reason} made the {day} train from {town} to {town2} {big} minutes late.",
    ),
    Scene(
        "A new shop in {town} sells {material} {item}s in {colour} and {colour2}. Its owner, a "
        "former {job}, [plans|hopes] to hire {n} people by {month}.",
        (
            ("What does the shop sell?", "{material} {item}s."),
            ("What was the owner before?", "A {job}."),
            ("How many people will be hired?", "{n}."),
        ),
        "A former {job} opened a shop for {material} {item}s in {town}, hoping to hire {n} people.",
    ),
    Scene(
        "Each {month} the {group} of {town} walks {big} km to the {building}. This year {name} led "
        "the way with a {animal}. [They|All] rested {n} times and ate {food}.",
        (
            ("Who led the way?", "{name}."),
            ("How far do they walk?", "{big} km."),
            ("Did they rest?", "Yes, {n} times."),
        ),
        "Led by {name}, the {group} of {town} made its yearly {big} km walk to the {building}.",
    ),
    Scene(
        "The {year} {item} in the {town} museum was thought to be {material}. [Tests|Checks] by a "
        "{job} show it is {material2}. It will move to the {colour} room [in|this] {month}.",
        (
            ("What is it really made of?", "{material2}."),
            ("Who did the tests?", "A {job}."),
            ("Where will it move?", "To the {colour} room."),
        ),
        "Tests show that the {town} museum's {year} {item} is {material2}, not {material}.",
    ),
    Scene(
        "{name} [opened|runs] a {hobby} class at the {building}. It meets on {day}, costs {n} "
        "coins and has room for {big} people. Beginners should bring a {item}.",
        (
            ("What does the class cost?", "{n} coins."),
            ("When does it meet?", "On {day}."),
            ("What should beginners bring?", "A {item}."),
        ),
        "{name} offers a {hobby} class for {big} people at the {building} on {day}.",
    ),
    Scene(
        "{town} has banned {colour} lights near the {building} to protect the {animal}. The rule "
        "starts in {month}. A {job} who breaks it pays {big} coins.",
        (
            ("Which animal is protected?", "The {animal}."),
            ("When does the rule start?", "In {month}."),
            ("How much is the fine?", "{big} coins."),
        ),
        "From {month}, {town} bans {colour} lights near the {building} to protect the {animal}.",
    ),
)
QA_ASKS = (
    "{m}\n\n{q}",
    "{q}\n\n{m}",
    "[Read|Use] this [and answer|for the answer]: {m} {q}",
    "[Text|Passage]: {m}\nQuestion: {q}",
    "{m} [So|Now]: {q}",
    "{q} [Answer|Look it up] [here|below]: {m}",
    "[Find|Get] it in the [note|text]. {q} {m}",
    "{m}\n\n[Short answer|In a few words], please. {q}",
    '"{m}" {q}',
    "[Quiz|Test] for {name3}. {m} {q}",
)
SUMMARY_ASKS = (
    "[Summarise|Sum up] in one sentence: {m}",
    "{m}\n\n[Summary|One-line summary], please.",
    "[Shorten|Condense] this to a [single|one] sentence.\n\n{m}",
    "{m} [TL;DR|In short]?",
    "What is the [gist|main point]? {m}",
    "[News|Village] brief for {name3}: {m} [Make|Write] it one line.",
    "[Text|Story]: {m}\nIn one sentence:",
    "[I have no time|I'm in a hurry]. {m} [Core|Key point]?",
    "{m} [Boil|Cut] that down for a {job3}.",
    '[Give|Write] the one-sentence version of "{m}"',
)


def make_qa(rng: random.Random) -> Draft:
    scene, slots = rng.choice(SCENES), draw(rng)
    question, answer = rng.choice(scene.questions)
    right = capital(fill(rng, answer, **slots))
    wrong = right
    while wrong == right:
        wrong = capital(fill(rng, answer, **draw(rng)))
        if answer == "No.":
            wrong = "Yes."
    text, question = fill(rng, scene.text, **slots), fill(rng, question, **slots)
    prompt = ask(rng, QA_ASKS, m=text, q=question, name3=draw(rng)["name"])
    return Draft(prompt, right, wrong, "the text says something else")


def make_summary(rng: random.Random) -> Draft:
    scene, slots = rng.choice(SCENES), draw(rng)
    right = capital(fill(rng, scene.summary, **slots))
    other = draw(rng)
    swapped = slots | {key: other[key] for key in ("month", "n", "big", "hobby", "town", "colour")}
    wrong = capital(fill(rng, scene.summary, **swapped))
    if wrong == right:
        wrong = capital(fill(rng, scene.summary, **other))
    extra = draw(rng)
    text = fill(rng, scene.text, **slots)
    prompt = ask(rng, SUMMARY_ASKS, m=text, name3=extra["name"], job3=extra["job"])
    return Draft(prompt, right, wrong, "facts differ from the text")


FAMILIES = (
    Family("sentiment", "mood of a short review", 60, make_sentiment),
    Family("headline_topic", "topic of a headline", 56, make_headline),
    Family("passage_qa", "question on a short passage, some yes or no", 62, make_qa),
    Family("summary", "short passage to one sentence", 54, make_summary),
)
