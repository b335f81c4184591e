"""Refusals in other languages than English, and responses that only sound like them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.declining import LANGUAGES
from curate.answers.refusals import find_refusal
from tests.conftest import examples

REFUSALS = {
    "de": [
        "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
        "Leider kann ich diese Frage nicht beantworten.",
        "Als KI-Sprachmodell habe ich keine persönlichen Vorlieben.",
        "Als künstliche Intelligenz kann ich keine Bilder sehen.",
    ],
    "fr": [
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Désolée, je ne peux pas répondre à cette question.",
        "En tant que modèle de langage, je n'ai pas d'opinion.",
        "En tant qu’IA, je ne peux pas ouvrir ce lien.",
    ],
    "es": [
        "Lo siento, pero no puedo ayudarte con eso.",
        "Lamentablemente, no puedo responder a esa pregunta.",
        "Como modelo de lenguaje, no tengo opiniones.",
        "Como una IA, no puedo ver imágenes.",
    ],
    "ru": [
        "Извините, но я не могу помочь с этим.",
        "К сожалению, я не могу ответить на этот вопрос.",
        "Как языковая модель, я не имею своего мнения.",
        "Как ИИ, я не могу открывать ссылки.",
    ],
    "zh": [
        "抱歉，我无法回答这个问题。",
        "对不起，我不能提供这些信息。",
        "作为一个AI语言模型，我无法访问互联网。",
        "作為人工智慧，我沒有個人意見。",
    ],
    "ja": [
        "申し訳ありませんが、その質問にはお答えできません。",
        "残念ながら、その情報を提供することができません。",
        "AI言語モデルとして、個人的な意見は持っていません。",
        "私はAIなので、画像を見ることはできません。",
    ],
}
# Stories, letters, and answers about machines.
ANSWERS = {
    "de": [
        "Es tut mir leid, dass dein Hund krank ist.",
        "Leider kann ich am Samstag nicht kommen, denn ich habe Dienst.",
        "Als KI bezeichnet man Programme, die lernen. Ich kann das nicht kürzer sagen.",
        "Als Sprachmodell dient ein neuronales Netz.",
    ],
    "fr": [
        "Je suis désolé pour ce retard.",
        "Malheureusement, je ne peux pas venir samedi.",
        "En tant que médecin, je ne peux pas dormir la nuit.",
        "L'IA ne peut pas tout faire.",
    ],
    "es": [
        "Lo siento mucho por tu abuela.",
        "Lo siento, no puedo ir el sábado.",
        "Como médico, no puedo dormir de noche.",
        "La IA no puede hacerlo todo.",
    ],
    "ru": [
        "Извините за опоздание, автобус сломался.",
        "К сожалению, я не могу прийти в субботу.",
        "Как врач, я не имею права спать.",
        "ИИ не может всего.",
    ],
    "zh": [
        "抱歉，我迟到了。",
        "对不起，我不能来参加聚会。",
        "作为医生，我不能睡觉。",
        "人工智能没有感情。",
    ],
    "ja": [
        "申し訳ありません、遅れました。",
        "残念ながら、土曜日は行けません。",
        "医者なので、夜は眠ることができません。",
        "AIは何でもできるわけではありません。",
    ],
}


def refusals(prompt: str, responses: list[str]) -> list[str | None]:
    rows = pl.DataFrame({"prompt": [prompt] * len(responses), "response": responses})
    return find_refusal(rows).to_list()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_response_that_begins_by_declining_is_a_refusal(language: str) -> None:
    assert None not in refusals("?", REFUSALS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_apologies_and_what_people_cannot_do_are_no_refusals(language: str) -> None:
    assert refusals("?", ANSWERS[language]) == [None] * len(ANSWERS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_that_the_prompt_holds_is_in_order(language: str) -> None:
    for refusal in REFUSALS[language]:
        assert refusals(f"? {refusal}", [refusal]) == [None]


@pytest.mark.parametrize("language", LANGUAGES)
@examples(0.5)
@given(data=st.data())
def test_every_refusal_has_a_sign_that_is_looked_for(language: str, data: st.DataObject) -> None:
    refusal = data.draw(st.from_regex(LANGUAGES[language].pattern))
    assert any(sign in refusal for sign in LANGUAGES[language].signs)
