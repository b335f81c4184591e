"""The flow `generation`, rows of a recipe: serve it (`python -m flows.generation`) or deploy it."""

from curate.orchestration.flows import generation
from curate.orchestration.serving import serve

if __name__ == "__main__":
    serve(generation)
