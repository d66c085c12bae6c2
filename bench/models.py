"""The models that every tool counts: ours by our definitions, ViT-H/14 by torchvision."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

OURS = {
    "resnet-50": (1, 3, 224, 224),
    "densenet-121": (1, 3, 224, 224),
    "densenet-264": (1, 3, 224, 224),
    "resnet-1202": (1, 3, 32, 32),
}
"""Of our own definitions, with the shape of the input."""
VIT = "ViT-H/14"
MODELS = (*OURS, VIT)


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A module and the shape of its input."""
    if name == VIT:
        return vit_h_14(), (1, 3, 224, 224)
    from archcalc.networks import catalogue

    network = catalogue.load(catalogue.resolve(name)[0])
    return network.build(**network.config), OURS[name]


def vit_h_14() -> nn.Module:
    """ViT-H/14 of torchvision, 632 million parameters."""
    torchvision_ops()
    from torchvision.models import vit_h_14

    return vit_h_14()


def torchvision_ops() -> None:
    """Declare the compiled ops of torchvision, so that it imports beside a torch it was not compiled for.

    None of the classification models calls them; the two that detectors call (`DETECTION`) compute here.
    """
    import torch

    ops = {
        "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
        "_roi_align_backward": "(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width, int sampling_ratio, bool aligned) -> Tensor",
        "roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) -> (Tensor, Tensor)",
        "_roi_pool_backward": "(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
        "ps_roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio) -> (Tensor, Tensor)",
        "_ps_roi_align_backward": "(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio, SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
        "ps_roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) -> (Tensor, Tensor)",
        "_ps_roi_pool_backward": "(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
        "deform_conv2d": "(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor",
        "_deform_conv2d_backward": "(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    }  # fmt: skip
    for name, schema in ops.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)
            if name in DETECTION:
                torch.library.impl(f"torchvision::{name}", "CPU", DETECTION[name])


def let_detectors_run() -> None:
    """Let torchvision's detectors call the ops that are declared here; they ask first whether compiled ones are there."""
    torchvision_ops()
    import torchvision.ops  # noqa: F401, its modules ask by a name of their own

    for name in ("torchvision.extension", "torchvision.ops.roi_align"):
        sys.modules[name]._has_ops = lambda: True  # type: ignore[attr-defined]


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The boxes that no better one overlaps by more than a share of both, best first, in plain steps."""
    from torchvision.ops.boxes import box_iou

    order = scores.argsort(descending=True)
    overlap = box_iou(dets, dets)[order][:, order] > iou_threshold
    keep = order.new_ones(len(order), dtype=bool)
    for place in range(len(order)):
        if keep[place]:
            keep[place + 1 :] &= ~overlap[place, place + 1 :]
    return order[keep]


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """The features of regions, pooled to one size, by torchvision's own definition in Python."""
    from torchvision.ops.roi_align import _roi_align

    plain = getattr(_roi_align, "__wrapped__", _roi_align)  # not compiled
    return plain(input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned)


DETECTION = {"nms": nms, "roi_align": roi_align}
"""By name: what computes the ops of torchvision's detectors where their compiled kernels are not there."""
