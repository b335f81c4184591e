"""What the methods of a recipe take from one forward pass of the base model."""

from curate.config.names import stage_names
from curate.config.recipe import Config
from curate.core.workload import SharedPass


def shared_pass(config: Config, max_length: int) -> SharedPass:
    """Return what stages and selections take from a pass over rows that are cut at a length.

    A part of a cascade that scores a share of the rows makes a pass of its own.
    """
    named = zip(stage_names(config.stages), config.stages, strict=True)
    stages = {name: stage.cost(1) for name, stage in named}
    members = [member for _, selector in config.choices for member in selector.members()]
    works = [*stages.values(), *(one.cost(1) for one, share in members if share == 1)]
    heads = [head for work in works if work.max_length == max_length for head in work.heads]
    taking = [n for n, work in stages.items() if work.heads and work.max_length == max_length]
    return SharedPass(frozenset(heads), taking[0] if taking else None)
