"""The record of one run: plain frozen data, and its file. No torch."""

from archcalc.tracing.records import (
    Call,
    Counted,
    Input,
    Kept,
    Model,
    Module,
    ModuleCall,
    Parameter,
    Shape,
    Step,
    Storage,
    Tensor,
    Value,
    element_size,
    plain,
)
from archcalc.tracing.trace import DEFINITION, Trace

__all__ = [
    "DEFINITION",
    "Call",
    "Counted",
    "Input",
    "Kept",
    "Model",
    "Module",
    "ModuleCall",
    "Parameter",
    "Shape",
    "Step",
    "Storage",
    "Tensor",
    "Trace",
    "Value",
    "element_size",
    "plain",
]
