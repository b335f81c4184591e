"""Where the steps of a run are computed: the recipe's key `run`.

run: {on: threads, workers: 4}
run: {on: ray, address: "ray://head:10001", gpus_a_worker: 1}
run: {on: dask, workers: 8, cluster: {class: dask_jobqueue.SLURMCluster, cores: 16, memory: 64GB}}
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from curate.core.params import Params
from curate.core.threads import usable_cores

INLINE: Literal["inline"] = "inline"
ENGINES_WITH = {
    "workers": ("threads", "ray", "dask"),
    "address": ("ray", "dask"),
    "cluster": ("dask",),
    "gpus_a_worker": ("ray",),
}


class RunSettings(Params):
    """Where the steps of a run are computed. The results are the same bytes everywhere."""

    on: Literal["inline", "threads", "ray", "dask"] = Field(
        INLINE,
        description="inline: one step after the other in this process; threads: independent steps side "
        "by side in it; ray, dask: in processes of this machine or of a cluster",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="steps at a time; one a core of this machine if not given; of a cluster at an "
        "address it is the cluster's",
        examples=[2],
    )
    address: str | None = Field(
        None,
        min_length=1,
        description="of a running cluster, for ray and dask; without it one is started on this machine",
        examples=["ray://head:10001", "tcp://scheduler:8786"],
    )
    cluster: dict[str, Any] | None = Field(
        None,
        description="for dask: the `class` of the cluster to start, by its module, and what it is given",
        examples=[{"class": "dask_jobqueue.SLURMCluster", "cores": 16, "memory": "64GB"}],
    )
    gpus_a_worker: float | None = Field(
        None,
        gt=0,
        description="for ray: the GPUs, or the part of one, that a step which runs a model is given",
        examples=[1],
    )

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        for key, engines in ENGINES_WITH.items():
            if getattr(self, key) is not None and self.on not in engines:
                raise ValueError(f"{key} is for on: {' or '.join(engines)}, not for on: {self.on}")
        if self.address and self.cluster:
            raise ValueError(
                "address is of a running cluster, cluster one to start: give one of them"
            )
        if self.address and self.workers:
            raise ValueError("the cluster at the address has its own workers: leave workers out")
        name = (self.cluster or {"class": "a.B"}).get("class")
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(
                "cluster.class: give a class by its module, as dask_jobqueue.SLURMCluster"
            )
        return self

    @property
    def many(self) -> int:
        """Return how many workers to start on this machine."""
        return self.workers or usable_cores()
