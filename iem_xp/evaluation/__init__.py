"""How well masks agree with what people drew: which belongs to which, scores, means."""
