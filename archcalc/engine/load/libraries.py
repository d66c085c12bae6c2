"""Models of torchvision, timm and transformers by their names there: without weights, with the inputs they declare.

Nothing is downloaded, save the config.json of `hf:ORG/NAME`; no pickle is read and no code from a hub is run.
"""

from __future__ import annotations

import importlib
import re
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import ModuleType

from torch import nn

from archcalc.engine.load import hugging_face
from archcalc.engine.load.declaration import Declaration, image
from archcalc.engine.load.declared_inputs import inputs_of
from archcalc.engine.load.references import PACKAGES, InLibrary, demand_known, is_default
from archcalc.engine.meta.empty_modules import without_data
from archcalc.engine.setup import Setup
from archcalc.errors import ArchcalcError, MissingExtra, WrongUse, one_line
from archcalc.networks.spec import Input

Built = tuple[nn.Module, Declaration, Sequence[str]]
"""A module, the inputs that it declares, and notes."""


OF_LIBRARY = "the library's own defaults do not build it; try a --set"


def build(reference: InLibrary, setup: Setup) -> Built:
    """The module and its own inputs; errors of exit code 2 for wrong names and settings, and for missing extras."""
    library = imported(PACKAGES[reference.library], reference.text)
    make = BUILDERS[reference.library]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with nullcontext() if setup.data else without_data():
                    return make(library, reference, setup)
            except RuntimeError:  # its constructor runs a part of it to learn a shape: once more, with weights
                return make(library, reference, setup)
    except ArchcalcError:
        raise
    except Exception as error:
        cause = first_cause(error)
        if isinstance(error, ImportError) and cause is not error:  # it says only that a module of its own fails
            raise MissingExtra(_culprit(PACKAGES[reference.library], error), reference.text, one_line(cause)) from error
        of_file = reference.library == "hf" and not is_default(reference)
        hint = "check its --set" if setup.knobs else hugging_face.IN_FILE if of_file else OF_LIBRARY
        if isinstance(cause, ImportError) and (lacking := re.search(r"requires the (\w+) library", str(cause))):
            raise MissingExtra(lacking[1], reference.text, "it is not installed") from error
        if isinstance(cause, ImportError):
            hint = f"install what it imports: pip install {cause.name.partition('.')[0]}" if cause.name else hint
        told = re.sub(r"<module '([\w.]+)' from '[^']*'>", r"\1", one_line(cause)).rstrip(".!")
        raise WrongUse(f"{reference.text} cannot be built so: {told}.", hint) from error


def imported(package: str, purpose: str) -> ModuleType:
    """The library; MissingExtra where it is not installed, or is and does not import."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or package, purpose, f"no module named '{error.name}'") from None
    except Exception as error:  # torchvision compiled for another torch raises RuntimeError
        raise MissingExtra(_culprit(package, error), purpose, one_line(first_cause(error))) from error


def first_cause(error: BaseException) -> BaseException:
    """The error that the others were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _culprit(package: str, error: BaseException) -> str:
    """The installed package that does not import: torchvision, where timm imports it."""
    for frame in reversed(traceback.extract_tb(first_cause(error).__traceback__)):
        _, site, inside = frame.filename.replace("\\", "/").rpartition("/site-packages/")
        name = inside.partition("/")[0]
        if site and name not in ("torch", ""):
            return name
    return package


def _torchvision(library: ModuleType, reference: InLibrary, setup: Setup) -> Built:
    """Classification, segmentation, detection, video, optical flow; the input is that of its weights' description."""
    models = importlib.import_module("torchvision.models")
    name = reference.name.lower()
    demand_known(reference, name, models.list_models())
    bare = "segmentation" in models.get_model_builder(name).__module__ or "detection" in _home(models, name)
    backbone = {"weights_backbone": None} if bare else {}  # would be downloaded
    module = models.get_model(name, weights=None, **{**backbone, **setup.knobs})
    declared = _torchvision_inputs(models, name)
    own = getattr(module, "image_size", None)  # a ViT's, which its weights' largest crops need not be
    if isinstance(own, int) and declared.inputs[0].shape[-1] != own:
        declared = Declaration((image("x", 3, own, own),), "its image_size")
    return module, declared, ()


def _home(models: ModuleType, name: str) -> str:
    return str(models.get_model_builder(name).__module__)


def _torchvision_inputs(models: ModuleType, name: str) -> Declaration:
    weights = list(models.get_model_weights(name))
    facts = weights[0].meta if weights else {}
    transform = getattr(weights[0].transforms, "keywords", {}) if weights else {}
    if "optical_flow" in _home(models, name):
        return Declaration((image("image1", 3, 520, 960), image("image2", 3, 520, 960)), "its training crops")
    if "detection" in _home(models, name):
        return Declaration(
            (Input("images", ("channels", "height", "width"), (3, 800, 800)),),
            "torchvision",
            listed=frozenset(("images",)),
        )
    origin = "torchvision weights metadata" if weights else "torchvision"
    crop = transform.get("crop_size", transform.get("resize_size", 224))
    height, width = (crop, crop) if isinstance(crop, int) else (crop[0], crop[-1])
    if "video" in _home(models, name):
        frames = max(16, facts.get("min_temporal_size", 16))
        axes = ("batch", "channels", "frames", "height", "width")
        return Declaration((Input("x", axes, (1, 3, frames, height, width)),), origin)
    return Declaration((image("x", 3, height, width),), origin)


def _timm(library: ModuleType, reference: InLibrary, setup: Setup) -> Built:
    """Every architecture of timm; the input is that of its default_cfg, or the img_size that is set."""
    demand_known(reference, reference.name.partition(".")[0], library.list_models())
    module = library.create_model(reference.name, pretrained=False, **setup.knobs)
    declared = inputs_of(module, setup)
    size = setup.knobs.get("img_size")
    if size and declared.inputs:
        sides = (size, size) if isinstance(size, int) else (size[0], size[-1])
        declared = Declaration((image("x", declared.inputs[0].shape[1], *sides),), "img_size")
    return module, declared, ()


BUILDERS: dict[str, Callable[[ModuleType, InLibrary, Setup], Built]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": hugging_face.build,
}
__all__: Sequence[str] = ["build"]
