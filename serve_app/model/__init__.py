"""What a checkpoint is: its facts, its tokenizer, its fingerprint, its reference vectors."""
