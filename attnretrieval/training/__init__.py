"""Step 4: optimisers, schedules, the training loop and its checkpoints."""
