"""Engines of a generator's own, beside that of the recipe's `generate`: each loaded once, one bill."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from curate.core.digests import digest_of
from curate.core.keyed import EngineSource
from curate.core.methods import Method
from curate.core.run import StepRun
from curate.core.wants import Wants
from curate.llm.ask import EngineClient
from curate.llm.engines import engine_of, engine_wants
from curate.llm.engines.absent import AbsentEngine
from curate.llm.limits import Limits
from curate.llm.sharedcache import open_cache


@dataclass(frozen=True)
class NamedEngine:
    """An engine of a generator's own, by the name that bill and rows know it by."""

    name: str
    client: EngineClient


class Engines:
    """The engines of a recipe's generators, the recipe's own among them; alike ones are one.

    Args:
        source: of the recipe's own engine.
        client: its client, whose bill, limits and faults are those of all.
        stack: closes the others.

    Attributes:
        own_names: of the engines that generators name themselves.
    """

    def __init__(self, source: EngineSource | None, client: EngineClient, stack: ExitStack) -> None:
        self._clients = {digest_of(source.identity) if source else "": client}
        self._client, self._stack = client, stack
        self.own_names: list[str] = []

    @property
    def clients(self) -> list[EngineClient]:
        """Return the clients of all engines so far, the recipe's own first."""
        return list(self._clients.values())

    def of(self, sources: Mapping[str, Sequence[EngineSource]]) -> dict[str, list[NamedEngine]]:
        """Return the engines of a generator, by the parameters that name them.

        Raises:
            UserError: a model is not there.
        """
        return {field: self._named(ones) for field, ones in sources.items()}

    def _named(self, sources: Sequence[EngineSource]) -> list[NamedEngine]:
        names = engine_names(sources)
        self.own_names += [name for name in names if name not in self.own_names]
        clients = map(self._open, sources)
        return [NamedEngine(name, client) for name, client in zip(names, clients, strict=True)]

    def _open(self, source: EngineSource) -> EngineClient:
        identity = digest_of(source.identity)
        if identity not in self._clients:
            client = EngineClient(engine_of(source), cache=open_cache(source), beside=self._client)
            self._clients[identity] = self._stack.enter_context(client)
        return self._clients[identity]


def open_client(engine: EngineSource | None, limits: Limits) -> EngineClient:
    """Return the client of an engine with its cache; None for methods that ask nothing."""
    if engine is None:
        return EngineClient(AbsentEngine(), limits=limits)
    return EngineClient(engine_of(engine), cache=open_cache(engine), limits=limits)


def own_engines(
    run: StepRun, method: Method, fields: Sequence[str]
) -> dict[str, list[EngineSource]]:
    """Return the engines that these parameters of a method name, by the parameters that name some.

    Raises:
        UserError: a model is not there.
    """
    values = {name: getattr(method, name) for name in fields if getattr(method, name)}
    return {
        name: [run.engine(one) for one in (value if isinstance(value, list) else [value])]
        for name, value in values.items()
    }


def engine_names(sources: Sequence[EngineSource]) -> list[str]:
    """Return a name for each engine: its model, with a number where an earlier one has the same."""
    models = [str(one.engine.get("model") or one.models["base"]) for one in sources]
    counts = [models[:i].count(model) + 1 for i, model in enumerate(models)]
    return [
        model if count == 1 else f"{model}, {count}"
        for model, count in zip(models, counts, strict=True)
    ]


def wants_of(engine: EngineSource | None, others: Sequence[EngineSource]) -> Wants:
    """Return what a call that asks several engines wants: a GPU if one is a model in this process."""
    return max((engine_wants(one) for one in (engine, *others)), key=lambda wants: wants.gpus)
