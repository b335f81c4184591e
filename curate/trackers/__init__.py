"""What a finished run leaves with experiment trackers: MLflow, W&B, trackio, those of other packages."""
