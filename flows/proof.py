"""The flow `proof`, another proof of a finished run: serve it (`python -m flows.proof`) or deploy it."""

from curate.orchestration.flows import proof
from curate.orchestration.serving import serve

if __name__ == "__main__":
    serve(proof)
