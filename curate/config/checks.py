"""Checks of a recipe that hold several of its parts against each other."""

from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from curate.clean.duplicates import HighestScore
from curate.config.faults import KeyFault
from curate.config.names import stage_names
from curate.core.errors import UserError
from curate.core.methods import methods_in
from curate.core.selector import Selector
from curate.core.selectparams import SelectParams
from curate.core.stage import Stage
from curate.generate.corpus import CorpusFiles
from curate.generate.generation import Generator
from curate.generate.starts import StartParams
from curate.judge.tag import COLUMNS, TagStage
from curate.pool.arrangement import NUMBERS, ExportSettings
from curate.pool.settings import RowFile, Target
from curate.proof.others import OTHERS, PLAIN_ARMS
from curate.proof.rehearse_settings import RehearseSettings
from curate.proof.rehearsed_arms import BY_CHANCE, REHEARSED
from curate.proof.settings import ArmFile, ProofSettings
from curate.selectors.groups import META
from curate.selectors.planner import RANKING_COLUMNS, ROW_COLUMNS, named_stages

Place = tuple[str | int, ...]
WILDCARDS = frozenset("*?[")


def check_eval_sets(stages: Sequence[Stage], example_sets: Collection[str]) -> None:
    """Fail where a stage needs one of several example sets, and the recipe gives none of them."""
    for i, stage in enumerate(stages):
        needs = stage.needs
        if needs and not set(needs) & set(example_sets):
            places = {"eval": "target.eval", "watch": "prove.watch"}
            raise ValueError(
                f"stages.{i} ({stage.method}) needs an eval set: give "
                + " or ".join(places.get(name, name) for name in needs)
            )


def check_survivors(stages: Sequence[Stage]) -> None:
    """Fail where a stage lets the evidence of no earlier stage decide which row survives."""
    names = stage_names(stages)
    for i, params in enumerate(stages):
        keep = getattr(params, "keep", None)
        if isinstance(keep, HighestScore) and keep.place[0] not in names[:i]:
            earlier_stages = ", ".join(names[:i]) or "none"
            raise KeyFault(
                ("stages", i, "keep", "highest"),
                f"{keep.place[0]!r} is no earlier stage (those are: {earlier_stages})",
            )


def check_scores(stages: Sequence[Stage]) -> None:
    """Fail where a stage corrects by the scores of a stage that is not there, or drops its rows."""
    names = stage_names(stages)
    for i, params in enumerate(stages):
        by = getattr(params, "by", None)
        if by is None:
            continue
        if by not in names[:i]:
            earlier_stages = ", ".join(names[:i]) or "none"
            sentence = f"{by!r} is no earlier stage (those are: {earlier_stages})"
            raise KeyFault(("stages", i, "by"), sentence)
        if getattr(stages[names.index(by)], "action", None) == "drop":
            sentence = f"{by!r} drops the rows that are to be corrected; give `action: score` there"
            raise KeyFault(("stages", i, "by"), sentence)


def check_markers(stages: Sequence[Stage]) -> None:
    """Fail where a marker depends on the evidence of no earlier stage."""
    names = stage_names(stages)
    for i, stage in enumerate(stages):
        if not isinstance(stage, TagStage):
            continue
        for name in stage.named_stages:
            if name not in names[:i]:
                there = ", ".join([*COLUMNS, *names[:i]])
                raise KeyFault(
                    ("stages", i, "when"), f"nothing is named {name!r}; there are: {there}"
                )


def check_plan(place: Sequence[Any], select: SelectParams, stages: Sequence[Stage]) -> None:
    """Fail where conditions or the method name a stage that the recipe has not, or are no SQL."""
    try:
        named = named_stages(select)
    except UserError as error:
        key, _, sentence = str(error).removeprefix("select.").partition(": ")
        raise KeyFault((*place, key), sentence) from error
    names = stage_names(stages)
    for name in named:
        if name not in names:
            columns = dict.fromkeys([*RANKING_COLUMNS, *ROW_COLUMNS, *names])
            raise KeyFault(
                place,
                f"filter or shares: nothing is named {name!r}; known: {', '.join(columns)}",
            )

    for member, _ in select.members() if isinstance(select, Selector) else ():
        for key, stage in _stages_read(member):
            if stage not in names:
                where = (*place, key) if member is select else place
                there = ", ".join(names) or "none"
                sentence = f"no stage {stage!r} before the selection; there are: {there}"
                raise KeyFault(where, sentence if member is select else f"{key}: {sentence}")


def _stages_read(selector: Selector) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a selector that name columns of stages, and these stages."""
    for key in selector.evidence_keys:
        value = getattr(selector, key) or ()
        for column in [value] if isinstance(value, str) else value:
            stage, dot, _ = column.partition(".")
            if dot and not column.startswith(META):
                yield key, stage


def check_target(place: Sequence[Any], selector: Selector) -> None:
    """Fail where a method or a part of it needs target examples; the recipe has none."""
    for member, _ in selector.members():
        if member.needs_target:
            free = [name for name, s in methods_in(Selector).items() if not s.needs_target]
            raise KeyFault(
                (*place, "method"),
                f"{member.method!r} needs `target:` examples; add them, or choose an untargeted method "
                f"({', '.join(free)})",
            )


def check_pool(pool: Sequence[RowFile], generators: Sequence[Generator]) -> None:
    """Fail where there are neither files of rows nor generators that can make some without."""
    if pool:
        return
    if not generators:
        raise KeyFault(("pool",), "there are no rows: name the files that they come from")
    for i, params in enumerate(generators):
        if "pool" in params.needed():
            place = ("generate", "methods", i, "method")
            raise KeyFault(place, f"{params.method!r} needs rows of a pool: give `pool`")


def check_generators(
    method_params: Sequence[Generator],
    target: Target | None,
    prompts: Sequence[RowFile],
    unanswered: bool = False,
) -> None:
    """Fail where a method needs target examples or prompts and there are none, or stands twice.

    So are prompts that no method starts from, and documents that one method alone holds out.

    Args:
        method_params: the generators.
        target: the target examples.
        prompts: files of prompts.
        unanswered: whether rows of the pool without a response are prompts too (ingest.prompts).
    """
    check_corpora(method_params)
    methods = [params.method for params in method_params]
    for i, (method, params) in enumerate(zip(methods, method_params, strict=True)):
        place = ("generate", "methods", i, "method")
        if "target" in params.needed() and target is None:
            instead = ", or `subjects`" if hasattr(params, "subjects") else ""
            instead = ", or `start: pool`" if isinstance(params, StartParams) else instead
            raise KeyFault(place, f"{method!r} needs target examples: give `target`{instead}")
        if "prompts" in params.needed() and not (prompts or unanswered):
            raise KeyFault(
                place,
                f"{method!r} needs prompts without a response: give `prompts`, or `ingest: {{prompts: "
                "true}` where rows of the pool lack theirs",
            )
        if method in methods[:i]:
            raise KeyFault(place, f"{method!r} stands here twice; its rows could not be told apart")
    starts = any("prompts" in params.needed() for params in method_params)
    if (prompts or unanswered) and not starts:
        raise KeyFault(
            ("prompts",) if prompts else ("ingest", "prompts"),
            "no generator starts from them: add one to generate.methods, such as {method: answer} or "
            "{method: evolve, start: prompts}",
        )


def check_corpora(generators: Sequence[Generator]) -> None:
    """Fail where documents that one method holds out for an eval set make rows by another."""
    earlier: list[tuple[PurePosixPath, CorpusFiles]] = []
    for i, params in enumerate(generators):
        for name in params.reads:
            corpus, place = getattr(params, name), ("generate", "methods", i, name)
            if not isinstance(corpus, CorpusFiles):
                continue
            if corpus.part != "kept":
                raise KeyFault((*place, "part"), "`curate evalset` alone reads what is held out")
            root = _corpus_root(corpus.path)
            for other_root, other in earlier:
                common = root.is_relative_to(other_root) or other_root.is_relative_to(root)
                if common and corpus.held_out_by != other.held_out_by:
                    raise KeyFault(
                        place,
                        f"another method holds out other documents of {other.path}: give both the same "
                        "held_out and held_out_seed",
                    )
            earlier.append((root, corpus))


def _corpus_root(path: str) -> PurePosixPath:
    """Return the file or folder that a corpus is below, however its path is written."""
    whole = path if "://" in path else str(Path(path).resolve())
    fixed = takewhile(lambda part: not WILDCARDS & set(part), PurePosixPath(whole).parts)
    return PurePosixPath(*fixed)


def check_arms(arms: Sequence[str | ArmFile], compared: Sequence[str]) -> None:
    """Fail where a proof's arm is nothing that is there, or a file has the name of something that is.

    Args:
        arms: of the proof.
        compared: names of the selections to compare with.
    """
    plain = [*PLAIN_ARMS, *OTHERS]
    for i, arm in enumerate(arms):
        place = ("prove", "arms", i)
        if arm in (REHEARSED, BY_CHANCE):
            raise KeyFault(
                place, f"{arm!r} is an arm wherever `rehearse` is given: leave it out here"
            )
        if isinstance(arm, str) and arm not in (*plain, *compared):
            raise KeyFault(
                place,
                f"{arm!r} is no arm; known: {', '.join([*plain, *compared])}; a file or the folder of "
                "a run is written {name: NAME, path: PATH}",
            )
        if isinstance(arm, ArmFile) and arm.name in (
            *plain,
            *compared,
            "then",
            "pool",
            REHEARSED,
            BY_CHANCE,
        ):
            raise KeyFault((*place, "name"), f"{arm.name!r} is the name of another arm")


def check_ablation(prove: ProofSettings | None, stages: Sequence[str]) -> None:
    """Fail where a proof is to leave out stages, and the recipe has none that may be left out."""
    if prove is not None and prove.ablate and not stages:
        raise KeyFault(
            ("prove", "ablate"),
            "there is no stage to leave out (leaks and pii always stay): give `stages`, or no `ablate`",
        )


def check_sources(
    pool: Sequence[RowFile],
    prompts: Sequence[RowFile],
    target: Target | None,
    protected: Sequence[RowFile],
    prove: ProofSettings | None,
    rehearse: RehearseSettings | None = None,
) -> None:
    """Fail where a held-out set or an arm has the name of other rows: ids would be mixed up."""
    named = {entry.source_name: f"pool.{i}" for i, entry in enumerate(pool)}
    for i, entry in enumerate(prompts):
        if entry.source_name in named:
            raise _same_name(("prompts", i), entry.source_name, named[entry.source_name])
        named[entry.source_name] = f"prompts.{i}"
    if target is not None:
        named[target.source_name] = "target"
    for place, name in [*_held_out(target, protected, prove), *_training_files(prove, rehearse)]:
        if name in named:
            raise _same_name(place, name, named[name])
        named[name] = ".".join(map(str, place))


def check_rehearsal(export: ExportSettings, prove: ProofSettings | None) -> None:
    """Fail where rehearsed rows lack what the recipe needs: figures of the selection, or pairs."""
    if prove is not None and prove.by_pairs:
        raise KeyFault(
            ("prove", "objective"),
            "rehearsed rows are learned by their responses: leave `rehearse` out, or the objective",
        )
    figures: dict[Place, str] = {}
    if export.sample_weight:
        figures["export", "sample_weight"] = "score"
    if export.phases is not None and export.phases.by in NUMBERS:
        figures["export", "phases", "by"] = export.phases.by
    for place, figure in figures.items():
        raise KeyFault(place, f"rehearsed rows have no {figure}: leave it out, or `rehearse`")


def _same_name(place: Place, name: str, other: str) -> KeyFault:
    return KeyFault(
        (*place, "source"),
        f"the name {name!r} is that of {other} as well, and row ids are made of it; give this set a "
        "`source:` of its own",
    )


def _held_out(
    target: Target | None, protected: Sequence[RowFile], prove: ProofSettings | None
) -> Iterator[tuple[Place, str]]:
    """Yield place and source of each eval, protected and watch set."""
    files = target.eval_files if target else []
    for i, file in enumerate(files):
        yield ("target", "eval", *([i] if len(files) > 1 else [])), file.source_name
    for i, entry in enumerate(protected):
        yield ("protected", i), entry.source_name
    for i, watched in enumerate(prove.watch if prove else []):
        yield ("prove", "watch", i), watched.source_name


def _training_files(
    prove: ProofSettings | None, rehearse: RehearseSettings | None
) -> Iterator[tuple[Place, str]]:
    """Yield place and source of the files that are trained on beside the pool."""
    if rehearse is not None:
        yield ("rehearse", "from"), rehearse.rows.source_name
    for i, arm in enumerate(prove.arms if prove else []):
        if isinstance(arm, ArmFile):
            yield ("prove", "arms", i), arm.source_name
    if prove is not None and isinstance(prove.then, RowFile):
        yield ("prove", "then"), prove.then.source_name
