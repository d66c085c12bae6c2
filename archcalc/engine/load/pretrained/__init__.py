"""The inputs of transformers' models: from forward's signature, the configuration and the library's processors."""
