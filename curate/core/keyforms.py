r"""Forms of API keys, access tokens and other secrets, by the mark, the length and the letters of each.

    AKIAIOSFODNN7EXAMPLE                            a mark of its own: MARKED
    aws_secret_access_key = wJalrXUtnFEMI/K7MD...   none, but a name before it
    Authorization: Bearer 0f3a9b...                 none, but a scheme before it

Lengths and alphabets are those that the services tell, with some room, since they change: too long a
range costs nothing where the mark is rare in texts. A piece without a mark has to look random as well
(`looks_random`), for `api_key = get_the_key_of_the_user()` is code.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import regex

from curate.core.latepattern import late_pattern

# Mark, then what follows it. Both are patterns for Python's and for Polars' engine.
MARKED: Mapping[str, str] = {
    # Clouds.
    r"A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA": r"[0-9A-Z]{16}",
    r"AIza": r"[0-9A-Za-z_-]{35}",
    r"ya29\.": r"[0-9A-Za-z_-]{20,500}",
    r"GOCSPX-": r"[0-9A-Za-z_-]{28}",
    r"1//0": r"[0-9A-Za-z_-]{40,120}",
    r"AQVN": r"[0-9A-Za-z_-]{35,38}",
    r"ABSK": r"[0-9A-Za-z+/]{100,270}={0,2}",
    r"v1\.0-": r"[0-9a-f]{24}-[0-9a-f]{146}",
    r"fm[12][ar]?_": r"[0-9A-Za-z+/=]{80,800}",
    r"nf[pocub]_": r"[0-9A-Za-z_-]{36,40}",
    r"4b1d": r"[0-9A-Za-z]{38}",
    r"sha256~": r"[\w-]{43}",
    r"LTAI": r"[A-Za-z0-9]{20}",
    r"AKID": r"[A-Za-z0-9]{32,40}",
    r"do[opr]_v1_": r"[0-9a-f]{64}",
    r"HRKU-": r"[0-9A-Za-z_-]{36,60}",
    r"dapi|dkea|dose|dsapi": r"[0-9a-h]{32}(?:-\d)?",
    r"dt0[a-z]\d\d\.": r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}",
    r"hvs\.|hvb\.|hvr\.": r"[0-9A-Za-z_-]{20,300}",
    r"pul-": r"[0-9a-f]{40}",
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.": r"(?:[0-9a-z_-]{2,35}\.)?[0-9A-Za-z]{40,44}",
    r"tskey-": r"[a-z]{3,10}-[0-9A-Za-z]{5,30}-[0-9A-Za-z]{10,60}",
    # Models.
    r"sk-": r"(?:proj-|ant-|svcacct-|or-)?[A-Za-z0-9_-]{20,250}",
    r"gsk_": r"[A-Za-z0-9]{32,64}",
    r"hf_": r"[A-Za-z0-9]{30,40}",
    r"nvapi-": r"[A-Za-z0-9_-]{40,100}",
    r"pplx-": r"[A-Za-z0-9]{32,64}",
    r"xai-": r"[A-Za-z0-9]{60,100}",
    r"r8_": r"[A-Za-z0-9]{36,40}",
    r"tgp_v1_": r"[A-Za-z0-9_-]{36,60}",
    r"fw_": r"[A-Za-z0-9]{22,40}",
    r"lsv2_(?:pt|sk)_": r"[0-9a-f]{32}_[0-9a-f]{10}",
    r"sk_": r"[0-9a-f]{48}",
    r"pcsk_": r"[A-Za-z0-9_]{60,80}",
    r"tvly-": r"[A-Za-z0-9-]{28,60}",
    # Code and its packages.
    r"gh[pousr]_": r"[A-Za-z0-9]{36,255}",
    r"github_pat_": r"[A-Za-z0-9_]{22,255}",
    r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-": r"[A-Za-z0-9_.-]{20,100}",
    r"ATATT3|ATCTT3": r"[A-Za-z0-9_=-]{150,250}",
    r"ATBB": r"[A-Za-z0-9]{32}",
    r"npm_": r"[A-Za-z0-9]{36}",
    r"pypi-": r"[A-Za-z0-9_-]{50,250}",
    r"rubygems_": r"[0-9a-f]{48}",
    r"dckr_(?:pat|oat)_": r"[A-Za-z0-9_-]{27,40}",
    r"CLOJARS_": r"[0-9a-z]{60}",
    r"oy2": r"[0-9a-z]{43}",
    r"sntry[su]_": r"[A-Za-z0-9+/=_-]{40,300}",
    r"PMAK-": r"[0-9a-f]{24}-[0-9a-f]{34}",
    r"NRAK-|NRAL-": r"[0-9A-Z]{27}",
    r"gl(?:sa|c)_": r"[A-Za-z0-9+/=_]{32,400}",
    r"AKCp": r"[A-Za-z0-9]{60,75}",
    r"pnu_": r"[A-Za-z0-9]{36}",
    r"CCIPAT_": r"[A-Za-z0-9]{20,24}_[0-9a-f]{40}",
    r"bk[uapt]a?_": r"[0-9a-f]{40}",
    r"cmVmd": r"[A-Za-z0-9]{59}",
    r"GR1348941": r"[\w-]{20}",
    r"(?:sat|pat)\.": r"[\w-]{22}\.[0-9a-zA-Z]{24}\.[0-9a-zA-Z]{20}",
    r"API-": r"[A-Z0-9]{25,27}",
    r"sgp_": r"(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}",
    r"ico-": r"[A-Za-z0-9]{32}",
    r"rdme_": r"[0-9a-z]{70}",
    r"sdk-|mob-|api-": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"dnkey-": r"[0-9A-Za-z=_-]{26}-[0-9A-Za-z=_-]{52}",
    r"ops_eyJ": r"[A-Za-z0-9+/]{250,2000}={0,3}",
    r"A3-": r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    # Chats, mails, shops, desks.
    r"xox[abeoprs]-": r"[A-Za-z0-9-]{10,250}",
    r"xapp-": r"\d-[A-Z0-9]{8,14}-\d{8,16}-[0-9a-f]{32,80}",
    r"hooks\.slack\.com/(?:services|workflows)/": r"[A-Za-z0-9+/]{40,60}",
    r"discord(?:app)?\.com/api/webhooks/": r"\d{17,20}/[\w-]{60,80}",
    r"[sr]k_(?:live|test|prod)_|whsec_": r"[0-9a-zA-Z]{14,250}",
    r"SG\.": r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    r"SK|AC": r"[0-9a-fA-F]{32}",
    r"key-": r"[0-9a-f]{32}",
    r"xkeysib-": r"[0-9a-f]{64}-[0-9A-Za-z]{16}",
    r"shp(?:at|ca|pa|ss)_": r"[0-9a-fA-F]{32}",
    r"sq0(?:atp|csp)-": r"[0-9A-Za-z_-]{22,43}",
    r"access_token\$production\$": r"[0-9a-z]{16}\$[0-9a-f]{32}",
    r"lin_api_": r"[A-Za-z0-9]{40}",
    r"ntn_|secret_": r"[A-Za-z0-9]{43,46}",
    r"figd_": r"[A-Za-z0-9_-]{40}",
    r"EAAA": r"[\w-]{56,64}",
    r"EAA[MC]|EAACEdEose0cBA": r"[A-Za-z0-9]{80,300}",
    r"EZ[AT]K": r"[A-Za-z0-9]{54}",
    r"FLWSECK_TEST-|FLWSECK-": r"[0-9a-z]{32}-X",
    r"duffel_(?:test|live)_": r"[\w=-]{43}",
    r"shippo_(?:test|live)_": r"[0-9a-fA-F]{40}",
    r"access-(?:sandbox|development|production)-|pat-(?:na|eu)\d-": (
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    ),
    r"pk_": r"\d{6,10}_[A-Z0-9]{32}",
    r"CFPAT-": r"[\w-]{43}",
    r"tfp_": r"[\w.=-]{44,60}",
    r"fio-u-": r"[\w=-]{64}",
    r"p8e-": r"[A-Za-z0-9]{32}",
    r"sl\.": r"[\w=-]{130,160}",
    r"sm_[aps]at_": r"[A-Za-z0-9]{16,40}",
    r"tk-us-": r"[\w-]{48}",
    r"sk\.eyJ": r"[A-Za-z0-9]{50,120}\.[A-Za-z0-9_-]{20,24}",
    r"pscale_(?:tkn|pw|oauth)_": r"[\w.=-]{32,64}",
    r"sb[p]_|sb_secret_": r"[0-9A-Za-z_]{30,50}",
    r"AGE-SECRET-KEY-1": r"[0-9A-Z]{58}",
    r"eyJ": r"[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,2000}",
}
# The mark stands within: Azure's storage, its applications, its keys of the common form; Terraform,
# mailing lists, tables and bots.
INNER: Mapping[str, str] = {
    r"==": r"[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])",
    r"Q~": r"[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}",
    r"JQQJ9": r"[A-Za-z0-9]{52}JQQJ9[9DH][A-Za-z0-9]{26}",
    r"AZDO": r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}",
    r"A{21}": r"A{21,}[A-Za-z0-9%]{40,100}",
    r":APA91b": r"[\w-]{11,24}:APA91b[\w-]{100,200}",
    r"office\.com/webhookb2/": (
        r"office\.com/webhookb2/[0-9a-f@-]{60,90}/IncomingWebhook/[0-9a-f/-]{60,90}"
    ),
    r"\.atlasv1\.": r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}",
    r"-us\d": r"[0-9a-f]{32}-us\d{1,2}",
    r"pat[A-Za-z0-9]{14}\.": r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}",
    r"\d:AA": r"\d{8,10}:AA[A-Za-z0-9_-]{33}",
    r"[MNO][A-Za-z\d]{23,25}\.[\w-]{6}\.": r"[MNO][A-Za-z\d]{23,25}\.[\w-]{6}\.[\w-]{27,40}",
}
# A name, or the scheme of a header, in front of the piece.
NAMES = (
    r"(?:api|secret|access|auth|client|private|account|subscription|encryption|signing|master|shared"
    r"|refresh|webhook|service|session|app)[ _-]?(?:access[ _-]?)?(?:key|token|secret)"
    r"|pass(?:word|wd|phrase)|(?<![\w-])(?:token|secret|pwd)"
)
# As variables of the environment are written: SNYK_TOKEN, ALGOLIA_ADMIN_KEY.
VARIABLES = (
    r"(?<![A-Z0-9_])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_"
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|PWD|PAT|CREDENTIALS?)"
)
IS = r"[\"'`]?\s{0,3}(?:=>|:=|[=:])\s{0,3}[\"'`]?"
AWS = (
    r"(?i)aws[\w.\"' -]{0,20}(?:key|secret|token)[\w.\"' -]{0,20}[=:>,\s\"'`]{1,8}"
    r"(?P<value>[a-z0-9/+]{40})(?![a-z0-9/+=])"
)
SCHEME = (
    r"(?i)\b(?:bearer|authorization[\"']?\s?[:=]\s?[\"']?(?:basic|token|apikey|ssws))\s{1,3}"
    r"(?P<value>[a-z0-9._~+/=-]{16,4000})(?<!\.)"
)
AZURE = (
    r"(?i)(?:(?:SharedAccessKey|AccountKey)=|[?&]sig=)"
    r"(?P<value>[a-z0-9+/%]{40,90}(?:%3D|=){0,2})"
)
ASSIGNED = (
    rf"(?:(?i:{NAMES})|{VARIABLES}){IS}(?P<value>[A-Za-z0-9_+/=:-]{{20,200}}+)(?![\w(\[]|\.\w)"
)
BLOCK = (
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\]{20,8000}"
    r"(?:-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----)?"
)
PASSWORD = r"(?<=://)(?P<value>[^\s/:@]{1,64}:[^\s/@]{1,128})@[\w-]"
PLACEHOLDER = late_pattern(
    r"(?:[a-z]{2,8}[_-]?)?(?:pass(?:word|wd|phrase)?|pwd|pw|secret)|[*x.]+|[<{$%\[].*", regex.I
)
RANDOM_BITS = 3.0


def is_password(piece: str) -> bool:
    """Return whether what follows a user's name is a password, and no word or sign in its place."""
    return not PLACEHOLDER.fullmatch(piece.partition(":")[2])


def has_digit(piece: str) -> bool:
    """Return whether one of the characters is a digit: names that begin like a key have none."""
    return any(c.isdigit() for c in piece)


def has_both_cases(piece: str) -> bool:
    """Return whether there are capitals and small letters, as in no hash in hexadecimal digits."""
    return piece != piece.lower() and piece != piece.upper()


def looks_random(piece: str) -> bool:
    """Return whether a piece has some entropy, and digits between its letters in two places or more."""
    counts = Counter(piece).values()
    bits = -sum(n / len(piece) * math.log2(n / len(piece)) for n in counts)
    inside = regex.findall(r"(?<=[A-Za-z+/])\d+(?=[A-Za-z+/])", piece)
    return bits >= RANDOM_BITS and len(inside) > 1


def always(piece: str) -> bool:
    """Return True: the form says enough."""
    return True


@dataclass(frozen=True)
class KeyForm:
    """How a secret is written.

    `hint` is for the engine of Polars and finds every text that `pattern` finds. The piece is the group
    `value` of the pattern where it has one, and must pass the check.
    """

    hint: str
    pattern: "regex.Pattern[str]"
    check: Callable[[str], bool]


def _any(forms: Mapping[str, str], *, marks_first: bool) -> KeyForm:
    parts = [(f"(?:{mark})" if marks_first else "") + rest for mark, rest in forms.items()]
    pattern = rf"(?<![\w-])(?:{'|'.join(parts)})(?<!\.)(?!\w)"
    return KeyForm("|".join(forms), late_pattern(pattern), has_digit)


MARKED_FORM = _any(MARKED, marks_first=True)
INNER_FORM = _any(INNER, marks_first=False)
# Hugging Face's of organisations: letters alone.
LETTERS_FORM = KeyForm(
    "api_org_", late_pattern(r"(?<![\w-])api_org_[A-Za-z]{34}(?!\w)"), has_both_cases
)
KEY_FORMS: tuple[KeyForm, ...] = (
    KeyForm("PRIVATE KEY", late_pattern(BLOCK), always),
    KeyForm(r"://[^\s/:@]+:[^\s/@]+@", late_pattern(PASSWORD), is_password),
    MARKED_FORM,
    INNER_FORM,
    LETTERS_FORM,
    KeyForm("(?i)aws", late_pattern(AWS), has_both_cases),
    KeyForm("(?i)(?:bearer|basic|token|apikey|ssws)\\s", late_pattern(SCHEME), has_digit),
    KeyForm("(?i)SharedAccessKey=|AccountKey=|[?&]sig=", late_pattern(AZURE), has_digit),
    KeyForm(
        rf"(?i)(?:key|token|secret|pass|passwd|password|passphrase|pwd|pat|credentials?){IS}",
        late_pattern(ASSIGNED),
        looks_random,
    ),
)


def is_key(text: str) -> bool:
    """Return whether a text is a key by its own form, without a word beside it."""
    return any(
        form.pattern.fullmatch(text) is not None and form.check(text)
        for form in (MARKED_FORM, INNER_FORM, LETTERS_FORM)
    )
