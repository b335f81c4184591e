"""Several methods proved in one run: the same controls for all, and one level divided among them.

At 5 % each, some one of five random methods is called better or worse in a fifth of all runs. So each of
M is judged at 5 % / M (Bonferroni), which keeps the chance of any false call at 5 %. The controls that a
budget determines are trained once, and so are the few of another size (curate.proof.shared_controls):
every further method costs its own fine-tunes.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from curate.core.calls import Table, cached_files
from curate.core.run import ScoreRun
from curate.core.selectparams import Budget
from curate.core.store import Artifact, Counts, write_json
from curate.proof.others import PLAIN_ARMS
from curate.proof.proof import ProofInputs, prove
from curate.proof.shared_controls import share_controls
from curate.proof.values import ProofValues, row_tokens

VERSION = 1


def prove_together(
    run: ScoreRun,
    selections: Mapping[str, tuple[Table, Budget]],
    material: ProofInputs,
    settings: ProofValues,
    judged: int,
) -> Artifact:
    """Return the artifact with proof.json of the first selection, and the verdicts of all of them.

    Args:
        run: the run.
        selections: ranking and budget by name, the run's own first.
        material: eval set and further arms, which stand beside the first selection alone, as do curve,
            quantiles and ablation.
        settings: of the proof.
        judged: how many selections share the level: these, and those that lost a race to the first.
    """
    shared = share_controls(selections, row_tokens(settings)) if len(selections) > 1 else {}
    own, *_ = selections
    plain = replace(material, files={}, rankings={}, rehearsed={}, stages=())
    plain_settings: ProofValues = {
        **settings, "arms": [*PLAIN_ARMS], "curve": None, "quantiles": None, "ablate": False
    }  # fmt: skip

    def prove_one(part: ScoreRun, name: str) -> Artifact:
        ranking, budget = selections[name]
        given, values = (material, settings) if name == own else (plain, plain_settings)
        return prove(part, ranking, given, values, budget, judged, shared.get(name))

    proofs = dict(zip(selections, run.side_by_side(prove_one, list(selections)), strict=True))
    return run(write_together, proofs) if len(proofs) > 1 else proofs[own]


@cached_files(version=VERSION, name="proof-together")
def write_together(out: Path, proofs: Mapping[str, Artifact]) -> Counts:
    """Write the first selection's files, and in its proof.json `methods`: the verdicts of all."""
    by_name = {n: orjson.loads(a.file("proof.json").read_bytes()) for n, a in proofs.items()}
    own, first = next(iter(proofs.values())), next(iter(by_name.values()))
    for name in own.files:
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(own.file(name), out / name)
    first["methods"] = [_line(name, proof) for name, proof in by_name.items()]
    verdicts = "; ".join(f"{line['method']} {line['verdict']}" for line in first["methods"])
    first["sentence"] = f"{first['sentence']} Judged together: {verdicts}."
    write_json(out / "proof.json", first)
    return {"verdict": first["verdict"], "sentence": first["sentence"]}


def _line(name: str, proof: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's verdict, and the comparisons that decide it; none where none was made."""
    deciding = [c for c in proof.get("comparisons", []) if c["metric"] == proof["metric"]]
    keys = ("control", "mean_difference", "half")
    return {
        "method": name,
        "verdict": proof["verdict"],
        "comparisons": [{key: c[key] for key in keys} for c in deciding],
        "score_validity": proof.get("score_validity"),
        "watch": proof.get("watch", []),
    }
