"""What is measured: the definitions, one file a paper family, and the catalogue that lists them without torch.

`catalogue` knows every name from a stored table and imports a definition's file only when that network is built.
"""
