"""How German, French, Spanish, Russian, Chinese and Japanese say what the rules know in English.

A text that is not there ("Fasse den folgenden Text zusammen."), a picture that is asked for, a claim
to have done something ("Das Licht wurde ausgeschaltet."), and labels of another task ("Aufgabe 2:").
Each is a short list of forms: what they do not know, they leave.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl
import regex

from curate.text.patterns import find_on_some, only, piece


@dataclass(frozen=True)
class Wording:
    """Patterns of one language.

    Args:
        pointed: how a prompt points to a text or picture that should follow or be there.
        pointers: pieces of text of which every such prompt holds one.
        requested: how a response asks for what is missing, or says that it is.
        picture: how a prompt asks for a picture.
        done: how a response claims an action, all of it.
        signs: pieces of which every claim and every prompt for a picture holds one.
        labels: names of instruction or task, input, output, question, answer, user, assistant.
        tasks: words of prompts that may ask for such labels, or for a form of a sentence.
    """

    pointed: str
    pointers: tuple[str, ...]
    requested: str
    picture: str
    done: str
    signs: tuple[str, ...]
    labels: tuple[str, str, str, str, str, str, str]
    tasks: str


WORDINGS: Mapping[str, Wording] = {
    "de": Wording(
        r"\b(?:folgende|nachstehende|untenstehende|unten stehende|obige|angehängte|beigefügte"
        r"|gegebene)[nrms]?\s\p{L}+"
        r"|^\W*(?:bitte\s)?(?:fasse?|übersetze?|korrigiere?|verbessere?|analysiere?|erkläre?"
        r"|beschreibe?|lies)\s(?:bitte\s)?"
        r"diese[nrms]?\s(?:text|artikel|absatz|satz|sätze|gedicht|geschichte|e-?mail|code"
        r"|abschnitt|bild|foto|video)"
        r"|\b(?:auf|in)\s(?:diesem|dem folgenden)\s(?:bild|foto|video|diagramm)",
        ("folgende", "nachstehende", "stehende", "obige", "angehängte", "beigefügte", "gegebene",
         "diese"),
        r"(?:bitte|könnten? sie|kannst du)\s(?:\p{L}+\s){0,4}?(?:geben|gib|sende|senden"
        r"|schicke|schicken|teile|teilen|füge|fügen"
        r"|stelle|stellen|nenne|nennen|bereit)|kein(?:en|e)?\s(?:text|bild|artikel|satz"
        r"|anhang)|nicht (?:sehen|öffnen|enthalten)",
        r"^\W*(?:bitte\s)?(?:erstelle|erzeuge|generiere|zeichne|male|mache?"
        r"|entwirf)\s(?:mir\s|uns\s)?(?:bitte\s)?(?:eine?n?\s|das\s)?"
        r"(?:\p{L}+\s){0,2}?(?:bild|foto|zeichnung|gemälde|video|illustration|porträt)\b",
        r"(?:es ist\s|schon\s|alles\s)?(?:erledigt|gemacht|fertig|ausgeführt)|(?:wird"
        r"|ist) (?:gemacht|erledigt)"
        r"|(?:ich habe|{thing} (?:wurden?|ist|sind))\s{words}{DONE}",
        ("erledigt", "gemacht", "fertig", "führt", "ich habe", "wurde", " ist ", " sind ",
         "bild", "foto", "zeichnung",
         "gemälde", "video", "illustration", "porträt"),
        ("anweisung|aufgabe", "eingabe", "ausgabe", "frage", "antwort", "benutzer|nutzer|mensch",
         "assistent"),
        r"aufgabe|anweisung|frage|beispiel|quiz|interview|gespräch|dialog|rätsel|prüfung|satz"
        r"|sätze|passiv|schlagzeile"
        r"|geschichte|gedicht",
    ),
    "fr": Wording(
        r"\b(?:texte|article|paragraphe|passage|phrase|poème|histoire|courriel|e-?mail|code"
        r"|extrait|image|photo|vidéo|tableau"
        r"|liste|document)s?\s(?:suivante?s?|ci-dessous|ci-dessus|ci-jointe?s?|fournie?s?"
        r"|donnée?s?)"
        r"|^\W*(?:résume|résumez|tradui[st]|traduisez|corrige|corrigez|analyse|analysez"
        r"|explique|expliquez|décri[st]|décrivez|lis)\s"
        r"(?:ce|cet|cette|ces)\s(?:texte|article|paragraphe|passage|phrase|poème|histoire"
        r"|courriel|e-?mail|code|extrait|image|photo|vidéo)"
        r"|\b(?:sur|dans)\scette\s(?:image|photo|vidéo)",
        ("suivant", "ci-de", "ci-joint", "fourni", "donné", "cet", " ce ", " ces "),
        r"(?:veuillez|pourriez-vous|pouvez-vous|merci de)\s(?:me\s|nous\s)?(?:fournir"
        r"|partager|envoyer|coller|donner|indiquer|préciser)"
        r"|(?:aucune?|pas de)\s(?:texte|image|article|phrase|pièce)|ne (?:vois|peux) pas",
        r"^\W*(?:s'il (?:te|vous) plaît,?\s)?(?:crée|créez|génère|générez|dessine|dessinez"
        r"|peins|fais|faites|produis)(?:-moi)?\s"
        r"(?:une?\s|l['’])?(?:\p{L}+\s){0,2}?(?:image|photo|dessin|peinture|tableau|vidéo"
        r"|illustration|portrait)s?\b",
        r"(?:c['’]est\s)?(?:fait|terminé)|(?:j['’]ai\s(?:bien\s)?{DONE}(?:\s[\p{L}'’-]+){0,8}"
        r"|{thing} (?:a|ont)\s(?:bien\s)?été\s{words}{DONE}(?:\s[\p{L}'’-]+){0,4})",
        ("fait", "termin", "'ai ", "’ai ", " été ", "image", "photo", "dessin", "peinture",
         "tableau", "vidéo",
         "illustration", "portrait"),
        ("instruction|consigne|tâche", "entrée", "sortie", "question", "réponse", "utilisateur",
         "assistant"),
        r"instruction|consigne|tâche|question|exemple|quiz|entretien|dialogue|conversation"
        r"|devinette|examen|phrase|passif"
        r"|titre|histoire|poème",
    ),
    "es": Wording(
        r"\b(?:el|la|los|las|del|al)\s(?:siguientes?)\s\p{L}+"
        r"|\b(?:texto|artículo|párrafo|pasaje|oración|frase|poema|historia|correo|código"
        r"|imagen|foto|video|vídeo|tabla|lista)s?\s"
        r"(?:siguientes?|adjunt[oa]s?|dad[oa]s?|proporcionad[oa]s?|a continuación|anterior)"
        r"|^\W*(?:por favor,?\s)?(?:resume|traduce|corrige|analiza|explica|describe"
        r"|lee)\s(?:este|esta|estos|estas)\s"
        r"(?:texto|artículo|párrafo|pasaje|oración|frase|poema|historia|correo|código|imagen"
        r"|foto|video|vídeo)"
        r"|\ben\sesta\s(?:imagen|foto)",
        ("siguiente", "adjunt", "dado", "dada", "proporcionad", "continuación", "anterior",
         " este ", " esta ", " estos ",
         " estas "),
        r"(?:por favor,?|podrías|puedes|necesito que)\s(?:me\s)?(?:proporcion\p{L}*"
        r"|compart\p{L}*|envi\p{L}*|enví\p{L}*|peg\p{L}*|indi\p{L}*|adjunt\p{L}*)"
        r"|(?:ningún|ninguna|no hay|falta)\s(?:\p{L}+\s)?(?:texto|imagen|artículo|frase"
        r"|archivo)|no puedo (?:ver|abrir)",
        r"^\W*(?:por favor,?\s)?(?:crea|genera|dibuja|pinta|haz|diseña"
        r"|produce)(?:me)?\s(?:una?\s|la\s|el\s)?"
        r"(?:\p{L}+\s){0,2}?(?:imagen|foto|dibujo|pintura|video|vídeo|ilustración|retrato)\b",
        r"(?:ya está\s)?(?:hecho|listo|terminado)|he\s{DONE}(?:\s[\p{L}'’-]+){0,8}"
        r"|{thing} (?:ha|han)\ssido\s{words}{DONE}(?:\s\p{L}+){0,4}|se\s(?:ha"
        r"|han)\s{DONE}(?:\s\p{L}+){0,8}",
        ("hecho", "listo", "terminado", "he ", " sido ", "se ha", "imagen", "foto", "dibujo",
         "pintura", "video", "vídeo",
         "ilustración", "retrato"),
        ("instrucción|tarea", "entrada", "salida", "pregunta", "respuesta", "usuario", "asistente"),
        r"instrucci|tarea|pregunta|ejemplo|cuestionario|entrevista|diálogo|conversación"
        r"|adivinanza|examen|oraci|frase|pasiv"
        r"|titular|historia|poema",
    ),
    "ru": Wording(
        r"(?:следующ|нижеследующ|приведённ|приведенн|прикреплённ|прикрепленн"
        r"|предоставленн)\p{L}{2,3}\s(?:\p{L}+\s)?\p{L}+"
        r"|^\W*(?:пожалуйста,?\s)?(?:перевед|исправ|проанализиру|сократи|объясни|опиши"
        r"|прочита|кратко изложи|перескажи)\p{L}*\s"
        r"(?:этот|эту|это|эти|данн\p{L}+)\s(?:текст|статью|абзац|отрывок|предложение"
        r"|стихотворение|рассказ|письмо|код|изображение|фото|видео)"
        r"|на\s(?:этом|этой|данном)\s(?:изображении|картинке|фото|фотографии|рисунке|видео)",
        ("следующ", "приведённ", "приведенн", "прикрепл", "предоставленн", "эт", "данн"),
        r"(?:пожалуйста,?|можете|не могли бы вы)\s(?:\p{L}+\s)?(?:предостав|пришл|отправ|укаж"
        r"|встав|приложи|поделит|загрузит)\p{L}*"
        r"|(?:нет|не вижу|не хватает)\s(?:\p{L}+\s)?(?:текст|изображени|стать|предложени"
        r"|вложени)\p{L}*|не могу (?:увидеть|открыть)",
        r"^\W*(?:пожалуйста,?\s)?(?:созда|сгенериру|нарису"
        r"|сдела)\p{L}*\s(?:мне\s)?(?:\p{L}+\s){0,2}?"
        r"(?:изображение|картинку|рисунок|фото|фотографию|видео|портрет|иллюстрацию)",
        r"(?:всё\s|уже\s)?(?:готово|сделано|выполнено)|я\s(?:уже\s)?{DONE}(?:\s[\p{L}-]+){0,8}"
        r"|{thing} (?:был[аои]?\s)?{words}{DONE}|{DONE}(?:\s\p{L}+){1,4}",
        ("готово", "сделано", "выполнено", "отправ", "ключ", "установ", "заброниров", "удал",
         "сохран", "добав", "заказа",
         "откры", "закры", "запущ", "запусти", "изображени", "картинк", "рисун", "фото", "видео",
         "портрет", "иллюстраци"),
        ("инструкция|задание", "ввод|входные данные", "вывод|выходные данные", "вопрос", "ответ",
         "пользователь",
         "ассистент"),
        r"инструкци|задани|задач|вопрос|пример|викторин|интервью|диалог|разговор|загадк"
        r"|экзамен|предложени|пассив|заголов"
        r"|рассказ|стих",
    ),
    "zh": Wording(
        r"(?:以下|下面|下列|下述|上述|上面|所给|所給|给定|給定|附件中?|这|這)的?(?:这|這"
        r"|一)?[篇段句张張个個幅份首则則些]?"
        r"(?:文章|文本|段落|句子|文字|短文|故事|诗|詩|新闻|新聞|邮件|郵件|代码|代碼|对话|對話"
        r"|评论|評論|图片|圖片|照片|图像|圖像|视频|影片|图表|圖表|内容|內容|数据|数字|单词|列表)",
        ("以下", "下面", "下列", "下述", "上述", "上面", "所给", "所給", "给定", "給定", "附件",
         "这", "這"),
        r"请(?:您|你)?(?:先)?(?:提供|发送|给出|分享|粘贴|上传|告诉|输入)|請(?:您|你)?(?:提供"
        r"|發送|給出|分享|貼上|上傳|告訴|輸入)"
        r"|没有(?:看到|提供|收到|给出)|沒有(?:看到|提供|收到)|未提供|看不到|无法(?:查看|打开"
        r"|看到)|無法(?:查看|打開|看到)",
        r"^(?:请|請)?(?:帮我|幫我|为我|給我|给我)?(?:生成|创建|創建|画|畫|绘制|繪製|制作|製作"
        r"|设计|設計|拍)(?:一|几)?[张張幅个個副段]?"
        r"[^，。：；,.:;\n]{0,20}?(?:图片|圖片|图像|圖像|照片|画像|视频|影片|插图|插圖|海报"
        r"|的画|的畫|的图|的圖)[。.！!]?\s*$",
        r"(?:已经?|已為您|已为您|已帮您|我已经?)?(?:完成|搞定|办好|做好|弄好)(?:了|啦)?"
        r"|(?:我)?(?:已经?|成功)(?:成功)?(?:为您|为你|帮您|帮你|替您|為您|幫您)?(?:将"
        r"|把)?[^，。：；,.:;\n]{0,20}?{DONE}"
        r"[^，。：；,.:;\n]{0,15}|[^，。：；,.:;\n]{1,20}?(?:已经?"
        r"|已被)(?:成功)?{DONE}[^，。：；,.:;\n]{0,10}",
        ("完成", "搞定", "办好", "做好", "弄好", "已", "成功", "图", "圖", "照片", "画像",
         "视频", "影片", "海报", "的画", "的畫"),
        ("指令|指示|任务|任務", "输入|輸入", "输出|輸出", "问题|問題|问|問", "答案|回答|答",
         "用户|用戶", "助手|助理"),
        r"指令|任务|任務|问题|問題|例子|示例|测验|測驗|采访|採訪|对话|對話|谜语|考试|句子|句"
        r"|被动|标题|故事|诗|詩|问答|造",
    ),
    "ja": Wording(
        r"(?:以下|次|下記|上記|下|上|添付"
        r"|与えられた)の(?:[\p{Han}\p{Hiragana}\p{Katakana}]{0,4}の)?"
        r"(?:文章|文|テキスト|段落|記事|物語|詩|メール|コード|会話|レビュー|画像|写真|動画|図"
        r"|グラフ|表|データ|数字|単語|リスト)"
        r"|(?:この|これらの)(?:文章|文|テキスト|段落|記事|物語|詩|メール|コード|会話|画像"
        r"|写真|動画)",
        ("以下", "次", "下", "上", "添付", "与えられた", "この", "これらの"),
        r"(?:提供|教え|入力|送信|送っ|貼り付け|共有|提示|添付|アップロード)(?:して|て"
        r"|を)(?:ください|下さい|いただ|お願い)"
        r"|(?:画像|文章|テキスト|記事|添付)(?:が|は)?(?:ありません|見当たりません|見えません"
        r"|提供されて)|(?:見る|開く|確認する)ことができません",
        r"^[^、。：；\n]{0,25}?(?:画像|写真|絵|イラスト|動画|似顔絵)を(?:生成|作成|作っ|描い"
        r"|描画|撮っ|デザイン|見せ)",
        r"(?:はい、?)?(?:完了|終了|実行)(?:しました|です)|できました"
        r"|(?:はい、?|わかりました[、。]|承知しました[、。]"
        r"|了解しました[、。])?[^、。：；\n]{0,30}?{DONE}",
        ("完了", "終了", "実行", "できました", "ました", "画像", "写真", "絵", "イラスト", "動画"),
        ("指示|命令|タスク", "入力", "出力", "質問|問題|問", "回答|答え|答", "ユーザー",
         "アシスタント"),
        r"指示|課題|質問|問題|例|クイズ|インタビュー|会話|対話|なぞなぞ|試験|文|受け身|見出し"
        r"|物語|詩|敬語",
    ),
}  # fmt: skip
# What devices and servers do, as it is said when it is done.
ACTIONS: Mapping[str, str] = {
    "de": "gesendet|geschickt|abgeschickt|verschickt|ausgeschaltet|eingeschaltet|abgeschaltet"
    "|angeschaltet|stummgeschaltet"
    "|gestellt|eingestellt|gebucht|reserviert|bestellt|gelöscht|gespeichert|hinzugefügt"
    "|angerufen|geöffnet|geschlossen"
    "|heruntergeladen|hochgeladen|installiert|gestartet|aktiviert|deaktiviert|gedruckt"
    "|überwiesen|bezahlt|verschoben|erhöht|gesenkt",
    "fr": "(?:envoyé|éteint|allumé|réglé|réservé|supprimé|effacé|enregistré|sauvegardé|ajouté"
    "|commandé|ouvert|fermé|lancé|activé"
    "|désactivé|programmé|imprimé|téléchargé|installé|payé|appelé|déplacé|augmenté|baissé"
    "|coupé)e?s?",
    "es": "(?:enviad|apagad|encendid|configurad|ajustad|reservad|eliminad|borrad|guardad"
    "|añadid|agregad|pedid|abiert|cerrad|iniciad"
    "|activad|desactivad|programad|descargad|instalad|pagad|llamad|silenciad|movid|subid"
    "|bajad)[oa]s?",
    "ru": "(?:отправ|выключ|включ|отключ|установ|заброниров|удал|сохран|добав|заказа|откры"
    "|закры|запущ|запусти|оплач|оплати|загруж|загрузи"
    "|перемещ|перемести)(?:л[аи]?|лен[аоы]?|лён|ен[аоы]?|ён|н[аоы]?|т[аоы]?|ил[аи]?|ан[аоы]?)",
    "zh": "(?:发送|發送|关闭|關閉|打开|打開|开启|開啟|设置|設置|设定|設定|预订|預訂|预约|預約"
    "|删除|刪除|保存|储存|添加|加入|下单|订购|播放|调整|調整|调高|调低"
    "|静音|靜音|关掉|打开|启动|啟動|下载|下載|上传|上傳|安装|安裝|支付|打印|列印|创建日程)",
    "ja": "(?:送信|送り|設定|予約|削除|保存|追加|注文|再生|起動|停止|ミュート|変更"
    "|ダウンロード|アップロード|インストール|印刷|振り込み|消灯|点灯|オンに|オフに"
    "|つけ|消し|閉め|開け|かけ)(?:し)?(?:まし|ておきまし|いたしまし)た",
}  # fmt: skip

# No other sentence, quote, number or list stands beside what is pointed to.
CLAUSE = r"(?:[^.?!:;,\n\"“”«»'‘’`0-9()\[\]{}<>。？！：；，、「」『』（）]|\p{L}['’])"
ENDING = rf"{CLAUSE}*[.?!:。？！：]*\s*\z"
AGREED = (
    r"(?:ok(?:ay)?|ja|gut|sicher|natürlich|alles klar|d['’]accord|bien sûr|oui|claro"
    r"|de acuerdo|sí|vale"
    r"|хорошо|да|конечно|好的|好|没问题|當然|当然|はい)\W+"
)
# Where a prompt speaks of these, a picture may be words or code, and a claim a sentence.
OF_WORDS = (
    r"(?i)ascii|svg|html|css|code|код|代码|代碼|コード|prompt|python|latex|beschreib|descri"
    r"|décri|опиш|опис|描述|説明|text"
    r"|idee|idée|idea|иде|titel|titre|título|названи|标题|標題|タイトル|übersetz|trad|перевед"
    r"|перевод|翻译|翻譯|訳|[:：\"“«「]"
)
QUESTION = (
    r"(?i)^\W*(?:was|wer|wie|wann|warum|wo|welche\w*|qui|que|quoi|comment|quand|pourquoi|où"
    r"|qué|quién|cómo|cuándo|por qué"
    r"|dónde|что|кто|как|когда|почему|где)\b|谁|誰|什么|什麼|怎么|怎麼|为什么|為什麼|吗|嗎|何"
    r"|なぜ|いつ|どこ|どう|ですか|ますか"
)
LONGEST_ORDER, LONGEST_CLAIM = 120, 90
BARE_WORDS = 3
COLON = r"\s?[:：]"


def _either_case(words: Iterable[str]) -> list[str]:
    """Return words as they stand within a sentence and at its beginning."""
    return sorted({form for word in words for form in (word, word.capitalize())})


def _pointed(wording: Wording) -> str:
    return rf"(?i)\A{CLAUSE}*?(?:{wording.pointed}){ENDING}"


def _claimed(code: str) -> str:
    done = WORDINGS[code].done.replace("{DONE}", f"(?:{ACTIONS[code]})")
    done = done.replace("{thing}", rf"{CLAUSE}{{1,60}}?").replace(
        "{words}", r"(?:[\p{L}'’-]+\s){0,6}?"
    )
    return rf"(?i)\A\W*(?:{AGREED})?(?:{done})[\s.!。！]*\Z"


def _together(slot: int) -> str:
    return "|".join(wording.labels[slot] for wording in WORDINGS.values())


POINTERS = _either_case(pointer for wording in WORDINGS.values() for pointer in wording.pointers)
CLAIM_SIGNS = _either_case(sign for wording in WORDINGS.values() for sign in wording.signs)
TASKS = "(?i)" + "|".join(wording.tasks for wording in WORDINGS.values())
SIGNS_BY_CODE = {code: _either_case(wording.signs) for code, wording in WORDINGS.items()}
CLAIMED = {code: _claimed(code) for code in WORDINGS}
INSTRUCTION, INPUT, OUTPUT, QUESTION_LABEL, ANSWER_LABEL, USER, ASSISTANT = map(_together, range(7))
MERGED = "|".join(
    [
        rf"(?im)^\W{{0,4}}(?:\d{{1,3}}\s*[.):、]\s*)?(?:{INSTRUCTION})\s*(?:#?\d{{1,3}})?{COLON}",
        rf"(?im)^#{{2,5}}\s*(?:{INSTRUCTION}|{INPUT}|{OUTPUT}|{USER}|{ASSISTANT})\s*\d*\s*(?:[:：]|$)",
        rf"(?im)^(?:{USER}){COLON}[^\n]*\n+(?:{ASSISTANT}|ki|ai|ia|ии|bot){COLON}",
        rf"(?im)^(?:{INPUT}){COLON}[^\n]*\n(?:[^\n]*\n){{0,20}}?(?:{OUTPUT}){COLON}",
        rf"(?im)\n\s*(?:{QUESTION_LABEL})\s*\d*\s?[:：.][^\n]*\n+\s*(?:{ANSWER_LABEL})\s*\d*\s?[:：.]",
    ]
)
MERGED_MARKS = _either_case(
    f"{INSTRUCTION}|{INPUT}|{QUESTION_LABEL}|{USER}|{OUTPUT}|{ASSISTANT}".split("|")
)


def missing_elsewhere(rows: pl.DataFrame, one_line: pl.Expr, prompt: pl.Expr) -> pl.Series:
    """Return how prompts in these languages speak of what they do not hold; null for others.

    Args:
        rows: prompt and response.
        one_line: prompts that may be looked at, others empty.
        prompt: without white space around it.
    """
    parts = [
        pl.when(~pl.col("response").str.contains(f"(?i){wording.requested}")).then(
            piece(prompt, _pointed(wording))
        )
        for wording in WORDINGS.values()
    ]
    return find_on_some(rows, one_line.str.contains_any(POINTERS), pl.coalesce(parts))


def claims_elsewhere(rows: pl.DataFrame) -> pl.Series:
    """Return what rows in these languages claim was done, or which picture they ask for; else null.

    Args:
        rows: prompt and response.
    """
    prompt, response = pl.col("prompt"), pl.col("response")
    order = only(prompt, prompt.str.len_chars() <= LONGEST_ORDER)
    brief = only(response, (response.str.len_chars() <= LONGEST_CLAIM) & (order != ""))
    signed = pl.any_horizontal(text.str.contains_any(CLAIM_SIGNS) for text in (order, brief))
    hits = rows.select(signed.fill_null(value=False)).to_series().arg_true()
    pairs = rows[hits].select(prompt.str.strip_chars(), response.str.strip_chars()).iter_rows()
    claims = pl.Series([next(_claims(*pair), None) for pair in pairs], dtype=pl.String)
    return pl.Series([None] * rows.height, dtype=pl.String).scatter(hits, claims)


def _claims(prompt: str, response: str) -> Iterator[str]:
    """Yield what a row asks for that no text is, and what it says was done."""
    text = f"{prompt}\n{response}"
    spoken = [code for code, signs in SIGNS_BY_CODE.items() if any(sign in text for sign in signs)]
    brief = len(response) <= LONGEST_CLAIM and not regex.search(r"[:：\n\"“«「]", response)
    for code in spoken:
        picture = regex.search(f"(?i){WORDINGS[code].picture}", prompt)
        if picture and not regex.search(OF_WORDS, prompt):
            yield picture[0]
        done = brief and regex.match(CLAIMED[code], response)
        if (
            done
            and (_is_bare(response) or _shares(prompt, response))
            and not any(regex.search(guard, prompt) for guard in (OF_WORDS, TASKS, QUESTION))
        ):
            yield response


def _is_bare(response: str) -> bool:
    """Return whether a response says only that it is done, as "Erledigt" does."""
    return len(response.split()) <= BARE_WORDS and len(response) <= 15


def _shares(prompt: str, response: str) -> bool:
    """Return whether a response names something of its prompt, be it in another form."""
    said, named = (
        {
            word[:4].casefold()
            for word in regex.findall(
                r"[\p{L}--[\p{Han}\p{Hiragana}\p{Katakana}]]{4,}", text, regex.V1
            )
        }
        | {pair for pair in regex.findall(r"[\p{Han}\p{Katakana}]{2}", text, overlapped=True)}
        for text in (response, prompt)
    )
    return bool(said & named)
