"""Faults of rows in other languages than English, and rows that only look like them."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from curate.clean.heuristics.claims import find_claim
from curate.clean.heuristics.merged import find_merged
from curate.clean.heuristics.missing import find_missing
from curate.clean.heuristics.wordings import WORDINGS

Pair = tuple[str, str]
Finder = Callable[[pl.DataFrame], pl.Series]

MISSING: dict[str, list[Pair]] = {
    "de": [
        ("Fasse den folgenden Text zusammen.", "Der Text handelt vom Meer."),
        ("Übersetze den folgenden Satz ins Englische.", "The sun is shining."),
        ("Korrigiere diesen Absatz", "Der Absatz ist nun richtig."),
        ("Was ist auf diesem Bild zu sehen?", "Ein Hund am Strand."),
    ],
    "fr": [
        ("Résumez l'article suivant.", "L'article parle de la mer."),
        ("Traduis cette phrase en anglais.", "The sun is shining."),
        ("Que voit-on sur cette image ?", "Un chien sur la plage."),
    ],
    "es": [
        ("Resume el siguiente texto.", "El texto trata del mar."),
        ("Traduce esta frase al inglés.", "The sun is shining."),
        ("¿Qué se ve en esta imagen?", "Un perro en la playa."),
    ],
    "ru": [
        ("Кратко изложи следующий текст.", "Текст рассказывает о море."),
        ("Переведи это предложение на английский.", "The sun is shining."),
        ("Что изображено на этой картинке?", "Собака на пляже."),
    ],
    "zh": [
        ("请总结以下文章。", "这篇文章讲的是大海。"),
        ("把下面的句子翻译成英文", "The sun is shining."),
        ("这张图片里有什么？", "一只狗在海滩上。"),
    ],
    "ja": [
        ("以下の文章を要約してください。", "この文章は海について述べています。"),
        ("次の文を英語に訳してください。", "The sun is shining."),
        ("この画像には何が写っていますか？", "浜辺にいる犬です。"),
    ],
}
THERE: dict[str, list[Pair]] = {
    "de": [
        ("Übersetze den folgenden Satz ins Englische: Die Sonne scheint.", "The sun is shining."),
        ("Fasse den folgenden Text zusammen.", "Bitte geben Sie mir den Text."),
        ("Welche Rolle spielt das Meer für das Klima?", "Es speichert Wärme."),
        ("Die Sonne scheint. Übersetze den obigen Satz.", "The sun is shining."),
    ],
    "fr": [
        ("Traduis la phrase suivante : le soleil brille.", "The sun is shining."),
        ("Résumez l'article suivant.", "Veuillez fournir l'article."),
        ("Quelle année suivante a été bissextile après 2019 ?", "2020."),
    ],
    "es": [
        ("Traduce la siguiente frase: el sol brilla.", "The sun is shining."),
        ("Resume el siguiente texto.", "Por favor, comparte el texto."),
        ("¿Qué es esta fiesta?", "Un carnaval."),
    ],
    "ru": [
        ("Переведи следующее предложение: солнце светит.", "The sun is shining."),
        ("Кратко изложи следующий текст.", "Пожалуйста, пришлите текст."),
        ("Что это за город?", "Это Казань."),
    ],
    "zh": [
        ("把下面的句子翻译成英文：太阳照耀。", "The sun is shining."),
        ("请总结以下文章。", "请提供文章。"),
        ("这个世界上最高的山是什么？", "珠穆朗玛峰。"),
    ],
    "ja": [
        ("次の文を英語に訳してください。「太陽が輝く」", "The sun is shining."),
        ("以下の文章を要約してください。", "文章を提供してください。"),
        ("この世界で一番高い山は何ですか？", "エベレストです。"),
    ],
}
CLAIMS: dict[str, list[Pair]] = {
    "de": [
        ("Schalte das Licht im Flur aus.", "Das Licht im Flur wurde ausgeschaltet."),
        ("Schick Anna eine E-Mail.", "Ich habe Anna eine E-Mail geschickt."),
        ("Stell den Wecker auf sieben.", "Erledigt."),
        ("Erstelle ein Bild von einer Katze.", "Eine Katze auf einem Stuhl."),
    ],
    "fr": [
        ("Éteins la lumière du salon.", "La lumière du salon a été éteinte."),
        ("Envoie un message à Paul.", "J'ai envoyé un message à Paul."),
        ("Dessine une image d'un chat.", "Un chat sur une chaise."),
    ],
    "es": [
        ("Apaga la luz del salón.", "La luz del salón ha sido apagada."),
        ("Envía un mensaje a Pablo.", "He enviado un mensaje a Pablo."),
        ("Dibuja una imagen de un gato.", "Un gato en una silla."),
    ],
    "ru": [
        ("Выключи свет в коридоре.", "Свет в коридоре выключен."),
        ("Поставь будильник на семь.", "Готово!"),
        ("Нарисуй картинку с котом.", "Кот на стуле."),
    ],
    "zh": [
        ("关闭客厅的灯。", "客厅的灯已关闭。"),
        ("给小明发送邮件。", "已为您发送邮件给小明。"),
        ("画一张猫的图片。", "一只猫坐在椅子上。"),
    ],
    "ja": [
        ("アラームを七時に設定して。", "アラームを七時に設定しました。"),
        ("会議室を予約して。", "会議室を予約しました。"),
        ("猫の画像を生成してください。", "椅子に座る猫です。"),
    ],
}
SAID: dict[str, list[Pair]] = {
    "de": [
        ("Bilde einen Satz im Passiv über das Licht.", "Das Licht wurde ausgeschaltet."),
        ("Was geschah mit dem Licht?", "Das Licht wurde ausgeschaltet."),
        ("Beschreibe das Bild eines Künstlers.", "Es zeigt das Meer."),
    ],
    "fr": [
        ("Écris une phrase au passif sur la lumière.", "La lumière a été éteinte."),
        ("Que fait un boulanger ?", "Il fait du pain."),
    ],
    "es": [
        ("Escribe una frase pasiva sobre la luz.", "La luz ha sido apagada."),
        ("¿Qué pasó con la luz?", "La luz ha sido apagada."),
    ],
    "ru": [
        ("Составь предложение о свете.", "Свет выключен."),
        ("Что случилось со светом?", "Свет выключен."),
    ],
    "zh": [("用“关闭”造句。", "客厅的灯已关闭。"), ("灯怎么了？", "灯已关闭。")],
    "ja": [
        ("「予約」を使って文を作って。", "会議室を予約しました。"),
        ("何を予約しましたか？", "会議室を予約しました。"),
    ],
}
LABELS = {
    "de": "Es kommt darauf an.\n\nAufgabe 2: Nenne drei Flüsse.",
    "fr": "Cela dépend.\n\nQuestion : Quelle heure est-il ?\nRéponse : Midi.",
    "es": "Depende.\n\nInstrucción: Nombra tres ríos.",
    "ru": "Смотря как.\n\nВопрос: Который час?\nОтвет: Полдень.",
    "zh": "看情况。\n\n指令：说出三条河流。",
    "ja": "場合によります。\n\n質問：今何時ですか。\n回答：正午です。",
}
TASK_REQUESTS = {
    "de": "Schreibe ein Quiz über Flüsse.",
    "fr": "Écris un quiz sur les heures.",
    "es": "Escribe tareas sobre ríos.",
    "ru": "Составь викторину о времени.",
    "zh": "写一个关于河流的任务。",
    "ja": "時間についてのクイズを作って。",
}


def matches(find: Finder, pairs: list[Pair]) -> list[bool]:
    rows = pl.DataFrame(pairs, schema=["prompt", "response"], orient="row")
    return find(rows.with_columns(turns=pl.lit(2))).is_not_null().to_list()


@pytest.mark.parametrize("language", WORDINGS)
@pytest.mark.parametrize(("find", "faults"), [(find_missing, MISSING), (find_claim, CLAIMS)])
def test_a_fault_is_found(find: Finder, faults: dict[str, list[Pair]], language: str) -> None:
    assert matches(find, faults[language]) == [True] * len(faults[language])


@pytest.mark.parametrize("language", WORDINGS)
@pytest.mark.parametrize(("find", "clean"), [(find_missing, THERE), (find_claim, SAID)])
def test_what_only_looks_like_one_is_left(
    find: Finder, clean: dict[str, list[Pair]], language: str
) -> None:
    assert matches(find, clean[language]) == [False] * len(clean[language])


@pytest.mark.parametrize("language", WORDINGS)
def test_labels_of_another_task_are_found_where_the_prompt_asks_for_none(language: str) -> None:
    pairs = [("?", LABELS[language]), (TASK_REQUESTS[language], LABELS[language])]
    assert matches(find_merged, pairs) == [True, False]
