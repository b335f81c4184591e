"""Kinds of faulty rows, as the maintainers of AlpacaDataCleaned list them, and close ones in order."""

from __future__ import annotations

import pytest

from curate.clean.heuristics import measures
from curate.clean.heuristics.findings import RULES
from curate.clean.heuristics.parameters import CopiedRule
from tests.conftest import frame, row, turns

Pairs = list[tuple[str, str]]

# By the measure that gives them away.
FAULTS: dict[str, Pairs] = {
    "merged": [
        ("Should I buy a bike?", "No.\n##\n18. Instruction: Name the noun.\n18. Input:\nRed."),
        ("Name a bird.", "A wren.\n\n### Instruction:\nName a fish.\n\n### Response:\nA carp."),
        ("Name a bird.", "A wren.\n###\n7. Name a fish."),
        ("Name a bird.", "A wren.\n\nInstruction: Name a fish.\nOutput: A carp."),
        ("What is the capital of Peru?", "Lima.\n\nQuestion: And of Chile?\nAnswer: Santiago."),
        ("What is the capital of Peru?", "Lima.\nQ: And of Chile?\nA: Santiago."),
        ("Is water wet?", "Yes.\nHuman: Is fire hot?\nAssistant: Yes."),
        ("Add 2 and 3.", "5\nInput: 4 and 5\nOutput: 9"),
        ("Add 2 and 3.", "5<|endoftext|>Subtract 3 from 2."),
        ("Name a bird.", "A wren.\n\nTask 2: Name a fish.\nA carp."),
        ("Name a bird.\n12. Instruction: Name a fish.", "A wren. A carp."),
        ("Sort these.\n\n3, 1\n4. Input: none\n4. Output: 1, 3", "1, 3"),
    ],
    "placeholder": [
        ("Create a logo for courage.", "<No Output>"),
        ("Freeze the yogurt for a while.\n\nYogurt sample", "<noinput>"),
        ("Name three colours.\n\n<noinput>", "Red, green, blue."),
        ("Name three colours.\n\nNo input", "Red, green, blue."),
        ("Name three colours.\nnoinput", "Red, green, blue."),
        ("Name three colours. (no input)", "Red, green, blue."),
        ("Name three colours.\n\nNo input required.", "Red, green, blue."),
        ("Name three colours.\n\nN/A", "Red, green, blue."),
        ("Name three colours.\n\nNone", "Red, green, blue."),
        ("Say what you see.", "No output"),
        ("Say what you see.", "No response needed."),
        ("Lay out a page for a shop.", "<web page with the layout of a shop>"),
        ("Tell a story.", "[A story about a dog and a cat]"),
        ("Tell a story.", "<Output>"),
        ("Show a cat.", "[Image of a cat]"),
        ("Show how to sort.", "See [link] and [image: a sorted list] for it."),
        ("Who rules Spain?", "The king of [country] is [name]."),
        ("Greet me.", "Your order ships to <address> on [date]."),
        ("Write a function that sorts.", "def sort(xs):\n    # your code here"),
        ("Write a function that sorts.", "```python\n# Code goes here\n```"),
        ("Write a function that sorts.", "```python\n\n```"),
        ("Write a class for a queue.", "class Queue {\n  // rest of the code\n}"),
        ("Write a function that sorts.", "def sort(xs):\n    pass"),
        ("Write a function that sorts.", "function sort(xs) {\n  // TODO: implement this\n}"),
    ],
    "missing": [
        ("Summarize the following article.", "The article says that the economy grew."),
        ("Summarize the given article in 200 words.", "Protests went on in the city."),
        ("Translate the following sentence into French.", "Je suis content."),
        ("Identify the noun in the following sentence:", "Dog."),
        ("Classify the following shape according to simple geometry.", "Triangle"),
        ("Find the errors in the code below.", "Line 3 lacks a bracket."),
        ("What does this function do?", "It sorts a list."),
        ("Proofread this paragraph", "The paragraph has no errors."),
        ("Rewrite the provided text in a formal tone.", "We regret to inform you."),
        ("Which of the following numbers is prime?", "7"),
        ("Sort the numbers given below in ascending order.", "1, 2, 3"),
        ("What is in this picture?", "A red car."),
        ("Describe the picture.\n\n<Picture Attached>", "A dog on a beach."),
        ("Classify the shape.\n\n[image attached]", "Triangle"),
        ("Describe this.\n\n![a cat](http://a.org/cat.png)", "A cat that sleeps."),
        ("Summarize the attached file.", "It is a report on sales."),
        ("Read the document I uploaded and tell me its topic.", "Its topic is health."),
        ("Please see the attachment and count the people.", "Five people."),
        ("How many people are in the photo?", "Three."),
        ("Caption it.\n\nbeach_2019.jpg", "A day by the sea."),
        ("Write a headline for it.\n\nhttps://www.news.example.com/article-1", "NASA Flies to Mars"),
        ("Summarize the article.\n\nhttps://www.bbc.com/news/world-1", "Protests went on."),
        ("Read https://example.com/post/7 and list its main points.", "1. Growth 2. Trade"),
        ("What is the sentiment of the review at www.shop.com/r/12?", "Positive."),
    ],
    "claim": [
        ("Increase the font size to 12 points.", "The font size has been increased to 12 points."),
        ("Set an alarm for 7 am.", "I have set an alarm for 7 am."),
        ("Set an alarm for 7 am.", "Alarm set for 7 am."),
        ("Send an email to my boss.", "Your email has been sent successfully."),
        ("Turn off the lights in the hall.", "The lights in the hall are now off."),
        ("Please order a pizza for me.", "Okay, I've ordered a pizza for you."),
        ("Can you book a table for two?", "Sure! The table has been booked."),
        ("Delete the last row of the sheet.", "Done!"),
        ("Freeze the yogurt for 10 minutes.", "The yogurt has been frozen for 10 minutes."),
        ("Play some jazz.", "I am playing some jazz now."),
        ("Remind me to call Ann at 5.", "Okay, I will remind you to call Ann at 5."),
        ("Rewrite the contract in plain words.", "The contract has been rewritten."),
        ("Close the window.", "Task completed."),
        ("Generate an image of a cat on a mat.", "A cat sits on a mat."),
        ("Draw a picture of a house.", "Here is your picture of a house."),
        ("Create a graphic or logo that represents the word courage.", "A lion in a red ring."),
        ("Take a photo of the moon.", "The photo was taken at night."),
    ],
    "escape": [
        ("Name two birds.", "A wren.\\nA lark."),
        ("Name two birds.", "1. A wren\\n2. A lark"),
        ("Name two birds.", "A wren.\\n\\nA lark."),
        ("Who said it?", 'Ann said, \\"I did.\\"'),
        ("Who said it?", "It\\'s Ann."),
        ("Name two birds.", "wren\\tLark"),
        ("Name a caf\\u00e9.", "The Blue Bird."),
        ("Fix it:\\nHe go home.", "He goes home."),
    ],
    "refusal": [
        ("Tell me.", "I can't do that."),
        ("Tell me.", "I cannot answer that question."),
        ("Tell me.", "Sorry, I can't."),
        ("Tell me.", "I'm sorry, I am not able to do this."),
        ("Tell me.", "I refuse to answer."),
        ("Tell me.", "I won't answer that."),
        ("Tell me.", "No, I can't help you with this."),
        ("Tell me.", "I do not have access to the internet."),
        ("Tell me.", "I'm just an AI and have no opinion."),
        ("Tell me.", "As an AI, I cannot have a favourite."),
        ("Tell me.", "As a language model, I don't have a body."),
        ("Tell me.", "It is not possible for me to answer that."),
        ("Tell me.", "I must respectfully decline."),
        ("Tell me.", "I'd rather not say."),
        ("Tell me.", "This request cannot be fulfilled."),
        ("Tell me.", "I don't have the ability to see pictures."),
        ("Tell me.", "I don't have enough information to answer."),
    ],
    "copied": [
        ("Generate a poem about love.", "Generate a poem about love."),
        ("Generate a poem about love.", "generate a poem about love"),
        ("Name three colours.\n\nNot red.", "Name three colours."),
        ("List the causes of rain", "LIST THE CAUSES OF RAIN!"),
        ("写一首关于春天的诗。", "写一首关于春天的诗。"),
    ],
}  # fmt: skip

FINE: Pairs = [
    # merged
    ("Write two questions.", "Question: Who?\nAnswer: Ann.\nQuestion: Where?\nAnswer: Here."),
    ("Explain how to use the tool.", "## Usage\nRead the instructions: all.\n## Limits\nNone."),
    ("Give an example of the format.", "Input: 3\nOutput: 9"),
    ("Write a chat between a user and a bot.", "User: Hi.\nBot: Hello."),
    ("Q: What is 2 + 2?\nA:", "4"),
    ("Examples:\nInput: 1\nOutput: 2\nInput: 3\nOutput:", "4"),
    ("Make a to-do list.", "1. Follow the instruction of your doctor.\n2. Rest: at least a day."),
    ("How do I cook rice?", "Instructions are simple: boil it.\n\nTask done in 20 minutes."),
    # placeholder
    ("What does this print?\n\nx = 1", "No output"),
    ("Write a letter.", "Dear [Name],\nthank you.\nYours, [Your Name]"),
    ("Write a template for an invoice.", "Invoice for [name], due [date]."),
    ("List two fruits in brackets.", "[apple, pear]"),
    ("Name a colour.\n\nOptions:\n- red\n- none", "red"),
    ("Which is it: all, some, none?", "None of the input was needed."),
    ("Link to the docs.", "See [link](https://a.org) and [image](https://a.org/i.png)."),
    ("Write a function that adds.", "def add(a, b):\n    # add the two numbers\n    return a + b"),
    ("Write an abstract class.", "class A:\n    def run(self):\n        pass\n\nclass B(A):\n    x = 1"),
    ("What does `// your code here` mean?", "`// your code here` marks where you write."),
    ("Is there input?", "No, no input was given to the machine that day, so it stopped."),
    ("Speak, friend.", "[laughs] Well, hello there!"),
    # missing
    ("Summarize the following article.\n\nRain fell for ten days and the dam broke.", "A dam broke."),
    ("Translate the following sentence into French: I am glad.", "Je suis content."),
    ('Which noun is in the following sentence, "Dogs bark"?', "Dogs."),
    ("Which of the following numbers is prime: 4, 7 or 9?", "7"),
    ("Answer the following question. What is the capital of Peru?", "Lima."),
    ("What happened on the following day?", "It rained."),
    ("Summarize the following article.", "Please provide the article, and I will summarize it."),
    ("What is in this picture?", "I don't see any picture in your message."),
    ("Write a story about following your dreams.", "Once there was a baker."),
    ("What does a function do in mathematics?", "It maps values."),
    ("How do I write a paragraph?", "Begin with one idea."),
    ("Describe the painting Guernica.", "It shows a bombing."),
    ("What is the domain of https://www.bbc.com/news?", "bbc.com"),
    ("Shorten this URL: https://www.bbc.com/news/world", "bbc.com/news"),
    ("Explain what attachment theory says.", "Bonds matter."),
    ("How do I open a PDF file on my phone?", "With a reader."),
    ("Edit the following sentence: He go home", "He goes home."),
    ("Explain this code.\n\n```python\nprint(1)\n```", "It writes 1."),
    ("What are the advantages of reading the news?", "You know more."),
    # claim
    ("How can I increase the font size?", "The font size is increased in the settings."),
    ("Describe how glass is made.", "Glass is made by melting sand."),
    ("Write a sentence in the passive about a door.", "The door was opened by the wind."),
    ("Name the process of turning ice to water.", "The process is named melting."),
    ("Summarize the news.\n\nThe mayor sent help.", "Help has been sent by the mayor."),
    ("Calculate the mean of 2 and 4.", "The mean is calculated by adding: it is 3."),
    ("Describe an image of a sunset.", "The sky turns red."),
    ("Draw a cat with ASCII.", " /\\_/\\ \n( o.o )"),
    ("Create a function that opens a door.", "def open_door(door):\n    door.open()"),
    ("Who closed the window?", "Ann has closed the window."),
    ("Give me an idea for a video.", "Show how bread is made."),
    ("Set the scene for a play.", "A dark wood. Two travellers enter."),
    ("Take the part of a writer: what if the king had taken the ring?",
     "If the king had not taken the ring, the war would be lost."),
    # escape
    ("Print two lines in Python.", 'print("a\\nb")'),
    ("What does \\n mean in a string?", "\\n is a newline."),
    ("Simplify.", "$\\nu + \\tau \\times \\neq \\rho$ and \\nabla f"),
    ("Where is it?", "In C:\\new\\temp or C:\\Users."),
    ("Show it.", "```\na\\nB\n```"),
    ("Write a regex for digits.", "\\d+\\.\\d+"),
    # refusal
    ("How do you feel?", "I can't complain. I am fine."),
    ("Give me a tip.", "You can't do that alone; ask a friend."),
    ("Who is it?", "I cannot wait to see the king again."),
    ("Write a line for a shy boy.", "I won't say a word, she said, and smiled."),
    ("What does the law say?", "This right cannot be denied to anyone."),
    ("Tell me of your day.", "I refuse no guest, and so the house was full."),
    # copied
    ("If a tank of eight liters is a fifth full, how many liters does it hold?",
     "If a tank of eight liters is a fifth full, how many liters does it hold? A fifth of eight is "
     "8 / 5, which is 1.6, so that the tank holds 1.6 liters of water now."),
    ("Correct it: He goes home.", "He goes home."),
    ("Repeat the word: tree", "tree"),
    ("Is it blue?", "It is blue."),
    ("Yes or no?\n\nIs water wet?", "Yes."),
]  # fmt: skip

MEASURES = [*FAULTS]


def failing(pairs: Pairs) -> list[list[str]]:
    """Return the measures that speak against each pair."""
    rows = frame([row(f"r{i:03}", turns(*pair)) for i, pair in enumerate(pairs)])
    measurements = measures.measure(rows)
    copied = RULES["copied"](CopiedRule()).reason
    measurements = measurements.with_columns(copied=copied)
    return [
        [name for name in MEASURES if line[name] is not None]
        for line in measurements.iter_rows(named=True)
    ]


@pytest.mark.parametrize("name", MEASURES)
def test_every_form_of_a_fault_is_seen_and_taken_for_no_other(name: str) -> None:
    pairs = FAULTS[name]
    missed = [pair for pair, names in zip(pairs, failing(pairs), strict=True) if names != [name]]
    assert missed == []


def test_rows_that_only_look_faulty_are_left() -> None:
    flagged = [(pair, names) for pair, names in zip(FINE, failing(FINE), strict=True) if names]
    assert flagged == []
