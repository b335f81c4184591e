"""A brief LoRA fine-tune whose weights are kept: the proof's training, for another step to load."""
