"""How the tensors of a trace spread over ranks: axes that tensor and sequence parallelism divide, and stages."""
