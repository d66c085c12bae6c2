"""Bounds beside published speeds: three of timm's benchmark tables, networks drawn by a hash of their names.

python -m bench.speed_truth --draw FOLDER   draw the rows from timm's tables (their CSV files in FOLDER)
python -m bench.speed_truth --trace         trace what has no stored trace yet (a stopped run goes on)
python -m bench.speed_truth                 bounds from the stored traces; then the page docs/speed.md
python -m bench.speed_truth --missing       the same, of cases that have no bounds yet

Traces are kept in bench/speed_traces, which git ignores; needs timm.
"""
