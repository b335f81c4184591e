"""The flow `curation`, a whole run of a recipe: serve it (`python -m flows.curation`) or deploy it."""

from curate.orchestration.flows import curation
from curate.orchestration.serving import serve

if __name__ == "__main__":
    serve(curation)
