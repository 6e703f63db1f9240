"""What a training run needs beside its mathematics: configuration, stages, checkpoints, validation."""
