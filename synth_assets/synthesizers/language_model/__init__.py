"""The language model of rows. Torch and transformers are imported inside functions: importing this package is fast."""
