"""Templates, word lists and planting rules behind the bundled pool."""
