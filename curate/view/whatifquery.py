"""What the address of the what-if page asks for, and the settings of plan and rethreshold that it means.

/whatif?of=fuzzy&threshold=0.8
/whatif?of=select&count=rows&amount=60&by=origin&cap=0.1&quota=arithmetic%3D0.2
"""

import json
import shlex
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.selector import Selector
from curate.core.selectparams import Share
from curate.runs.folder import RunFolder

SELECT = "select"
COUNTS = ("rows", "tokens", "fraction")
GROUPS = ("source", "origin")
# What sets a threshold by itself.
RIVALS = ("rows", "drop", "precision", "threshold")


def _settings(text: str) -> list[str]:
    """Return KEY=VALUE words as a command line has them.

    Raises:
        UserError: a quote is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"{text}: {error}; write KEY=VALUE, in quotes where it has spaces"
        ) from error


@dataclass(frozen=True)
class ThresholdQuery:
    """Another threshold of a stage, and further settings as words of a command line."""

    stage: str
    threshold: str = ""
    settings: str = ""

    @classmethod
    def of(cls, query: QueryParams, stage: str, own: str) -> "ThresholdQuery":
        """Return what an address asks for; `own` is the run's threshold, as it is written."""
        threshold = query.get("threshold", "").strip()
        settings = query.get("settings", "").strip()
        return cls(stage, "" if threshold == own else threshold, settings)

    @property
    def overrides(self) -> list[str]:
        """Return it as `curate rethreshold --set` takes it."""
        settings = _settings(self.settings)
        given = {one.partition("=")[0] for one in settings}
        own = [f"threshold={self.threshold}"] if self.threshold and not given & set(RIVALS) else []
        return [*own, *settings]


@dataclass(frozen=True)
class PlanQuery:
    """Another selection: method, budget, caps and quotas of groups, condition, further settings."""

    method: str
    count: str
    amount: str
    by: str = ""
    cap: str = ""
    quota: str = ""
    filter: str = ""
    similar: str = ""
    settings: str = ""

    @classmethod
    def of(cls, query: QueryParams, own: "PlanQuery") -> "PlanQuery":
        """Return what the query of an address asks for; what it does not say is as in the run."""
        given = {name: query[name].strip() for name in cls.__dataclass_fields__ if name in query}
        return cls(**{**vars(own), **given})


def plan_of_run(run: RunFolder) -> PlanQuery:
    """Return the run's own selection."""
    params = run.select
    count, amount = next((n, v) for n, v in params.budget if v is not None)
    share = next((one for one in params.shares if isinstance(one.most, float)), None)
    return PlanQuery(
        params.method,
        count,
        str(amount),
        *(("", "", "") if share is None else _share_fields(share)),
        params.filter or "",
        "" if params.diversity is None else str(params.diversity.most),
    )


def _share_fields(share: Share) -> tuple[str, str, str]:
    quota = ", ".join(f"{name}={least:g}" for name, least in share.least.items())
    return share.by, f"{share.most:g}", quota


def plan_settings(run: RunFolder, query: PlanQuery) -> tuple[str | None, list[str]]:
    """Return budget and settings as `curate plan` takes them: only what is not as in the run.

    Raises:
        UserError: a quota is no share.
    """
    own, settings = plan_of_run(run), list[str]()
    budget = f"{query.count}={query.amount}"
    if query.method != own.method:
        settings.append(f"method={query.method}")
    if (query.by, query.cap, query.quota) != (own.by, own.cap, own.quota):
        settings.append(f"shares={_json(_shares(run.select, own, query))}")
    if query.filter != own.filter:
        settings.append(f"filter={_json(query.filter or None)}")
    if query.similar != own.similar:
        settings.append(f"diversity={_json(_diversity(run.select, query.similar))}")
    changed = (query.count, query.amount) != (own.count, own.amount)
    return budget if changed else None, [*settings, *_settings(query.settings)]


def _shares(params: Selector, own: PlanQuery, query: PlanQuery) -> list[JSON]:
    """Return the shares of the run, with those of the query in place of what the page shows of them."""
    others = [one for one in params.shares if one.by not in (own.by, query.by)]
    changed = {"by": query.by, "most": _number(query.cap or "1"), "least": _quotas(query.quota)}
    return [*(one.model_dump(mode="json") for one in others), *([changed] if query.by else [])]


def _quotas(text: str) -> dict[str, JSON]:
    quotas: dict[str, JSON] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, share = part.rpartition("=")
        if not separator:
            raise UserError(f"quota {part}: write GROUP=SHARE, e.g. arithmetic=0.1")
        quotas[name.strip()] = _number(share)
    return quotas


def _diversity(params: Selector, most: str) -> JSON:
    if not most:
        return None
    own = {} if params.diversity is None else params.diversity.model_dump(mode="json")
    return {**own, "most": _number(most)}


def _number(text: str) -> JSON:
    """Return a number, or the text for the recipe's own checks to refuse."""
    try:
        return float(text)
    except ValueError:
        return text


def _json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)
