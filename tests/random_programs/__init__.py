"""Random programs: small networks made of stages of many kinds, and what a real run on the CPU says of them.

`stage` says what a stage is; `images`, `recurrent`, ... define the kinds of stage; `program` joins some of them by a
seed; `products` counts multiply-adds on real tensors; `outcome` compares a real run with archcalc.
"""
