"""Stages of numbers: Fourier transforms, complex numbers, dtypes, activations, norms, reductions, losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.random_programs.stage import IMAGE, SEQUENCE, VECTOR, Apply, Draw, parameter, stage


@stage(SEQUENCE)
def fourier(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Transforms of real and complex signals, one axis or two, there and back."""
    way = draw.pick(
        lambda x: torch.fft.fft2(x).real,
        lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1) * 2, n=t, dim=1),
        lambda x: torch.fft.fftshift(torch.fft.ifft(torch.fft.fft(x, norm="ortho"), dim=1).real, dim=1),
        lambda x: torch.fft.rfft(x, n=10).abs()[..., :4],
        lambda x: torch.fft.hfft(torch.fft.ihfft(x, dim=2), n=4, dim=2),
        lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=(t, c)) + torch.fft.rfftfreq(2 * c - 1),
    )
    return Apply(lambda m, x: way(x))


@stage(IMAGE)
def spectral_conv(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A product of the lowest frequencies with complex weights, as Fourier neural operators do."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        seen = torch.fft.rfft2(x)
        out = torch.zeros(n, c, h, w // 2 + 1, dtype=torch.cfloat)
        out[:, :, :2, :2] = torch.einsum("nixy,ioxy->noxy", seen[:, :, :2, :2], m.weight)
        return torch.fft.irfft2(out, s=(h, w)) + x

    return Apply(forward, weight=parameter(c, c, 2, 2, dtype=torch.cfloat))


@stage(SEQUENCE)
def short_fourier(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Short Fourier transforms of all steps as one signal, with a window made in forward; back again at times."""
    back = draw.flag()

    def forward(m: Apply, x: Tensor) -> Tensor:
        signal = F.pad(x.flatten(1), (0, 16))[:, :32]
        seen = torch.stft(signal, 8, 4, window=torch.hann_window(8), return_complex=True)
        if not back:
            return seen.abs()[:, :4, :8].mT
        return torch.istft(seen, 8, 4, window=torch.hann_window(8), length=32).view(n, 4, 8)

    return Apply(forward)


@stage(VECTOR)
def complex_numbers(draw: Draw, n: int, c: int) -> nn.Module:
    """Complex parts, products, conjugates, angles; a complex linear layer."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        z = torch.complex(x, x.flip(1)) if m.made else torch.view_as_complex(x.contiguous().view(n, -1, 2))
        z = F.linear(z, m.weight[:, : z.shape[1]]) * torch.tensor(1j)
        return m.way(z)

    way = draw.pick(
        lambda z: z.real + z.imag,
        lambda z: z.abs() * z.angle().cos(),
        lambda z: (z * z.conj()).real,
        lambda z: torch.view_as_real(z.mH.resolve_conj()).sum(-1).mT,
        lambda z: torch.polar(z.abs(), z.angle()).real,
    )
    return Apply(forward, weight=parameter(6, c, dtype=torch.cfloat), made=draw.flag(), way=way)


@stage(SEQUENCE)
def dtypes(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Layers in bfloat16, float16 and float64; casts to whole numbers and truths; promotions."""
    low = draw.pick(torch.bfloat16, torch.float64, torch.float16)
    way = draw.pick(
        lambda m, x: m.layer(x.to(low)).float(),
        lambda m, x: (x.double() @ x.double().mT).type(x.type())[..., :3].repeat(1, 1, 2),
        lambda m, x: x * x.int() + (x > 0) + x.to(torch.int16).to(x.dtype),
        lambda m, x: (x.bfloat16() + x.double()).to(x) + torch.tensor(2, dtype=torch.int8),
        lambda m, x: (m.layer(x.to(dtype=low, copy=True)).double() + 1).type_as(x).to("cpu").cpu(),
        lambda m, x: x if not x.is_floating_point() else m.layer(x.to(low, non_blocking=True)).to(x.device, x.dtype),
        lambda m, x: (x.half() * 2).sum(-1, dtype=torch.float32, keepdim=True) + x.long().sum(1, keepdim=True) / 2,
        lambda m, x: x + torch.result_type(x, 1).is_floating_point + torch.finfo(x.dtype).eps,
    )
    return Apply(way, layer=nn.Linear(c, 4).to(low))


@stage(SEQUENCE)
def not_autocast(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A part that is kept in full precision by autocast(enabled=False), on the device of the input."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        with torch.autocast(device_type=x.device.type, enabled=False):
            return m.layer(x.float())

    return Apply(forward, layer=nn.Linear(c, 6))


@stage(IMAGE)
def activations(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Activations that are modules, in place at times, one with parameters."""
    gates = nn.GLU(1) if c % 4 == 0 else nn.Mish()
    first = draw.pick(nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Softplus, nn.ELU, nn.SELU, nn.Tanhshrink, nn.RReLU)()
    return nn.Sequential(first, draw.pick(gates, nn.PReLU(c), nn.Softmax2d(), nn.Hardtanh(), nn.Threshold(0.1, 0.0)))


@stage(SEQUENCE)
def elementwise(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Functions of one and two tensors, with broadcasting and out-of-place forms of everything."""
    way = draw.pick(
        lambda x: torch.addcmul(x, x, x.mean(1, keepdim=True), value=0.5) + torch.lerp(x, -x, 0.3),
        lambda x: x.sin().pow(2) + x.cos() ** 2 + torch.hypot(x, x[:1]),
        lambda x: torch.atan2(x, x.exp()) + x.sigmoid().logit(1e-3),
        lambda x: torch.maximum(x, x.new_tensor(0.1)) + x.clamp(-1, 1).sign() + x.frac(),
        lambda x: x.softmax(1) + x.log_softmax(2) + F.softmin(x, 2),
        lambda x: F.gelu(x, approximate="tanh") * torch.erf(x) + torch.special.expit(x),
        lambda x: x.nan_to_num() + x.fmod(0.7).round(decimals=1) + torch.heaviside(x.detach(), x.detach()[0, 0, 0]),
        lambda x: torch.stack(torch.frexp(x)[:1]).squeeze(0) + torch.logaddexp(x, x) + x.xlogy(x.abs() + 1),
        lambda x: F.glu(torch.cat([x, x], 2)) + F.normalize(x, 1.0, 1),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def norm_of_steps(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Layer norm, RMS norm, batch norm of channels, statistics written out."""

    def written(m: Apply, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(var + 1e-5)

    return draw.pick(
        nn.LayerNorm(c, elementwise_affine=draw.flag()),
        nn.LayerNorm((t, c), bias=False),
        nn.RMSNorm(c),
        Apply(lambda m, x: m.norm(x.mT).mT, norm=nn.BatchNorm1d(c, momentum=draw.pick(0.1, None))),
        Apply(lambda m, x: m.norm(x), norm=nn.BatchNorm1d(t, affine=False)),
        Apply(written),
        Apply(lambda m, x: m.norm(x.flatten(0, 1)).view(n, t, c), norm=nn.GroupNorm(2, c)),
    )


@stage(VECTOR)
def auxiliary_loss(draw: Draw, n: int, c: int) -> nn.Module:
    """A loss computed in forward and added: of classes, of distances, of distributions."""
    way = draw.pick(
        lambda x: F.cross_entropy(x, torch.zeros(n, dtype=torch.long), label_smoothing=0.1),
        lambda x: F.cross_entropy(x, x.detach().softmax(1), reduction="none").unsqueeze(1),
        lambda x: F.mse_loss(x, x.flip(1)) + F.smooth_l1_loss(x, x * 2) + F.huber_loss(x, -x),
        lambda x: F.binary_cross_entropy_with_logits(x, (x > 0).float()),
        lambda x: F.kl_div(x.log_softmax(1), x.flip(1).softmax(1), reduction="batchmean"),
        lambda x: F.nll_loss(x.log_softmax(1), torch.ones(n, dtype=torch.long), reduction="sum"),
        lambda x: F.triplet_margin_loss(x, x + 1, x.flip(1)) + F.cosine_embedding_loss(x, -x, torch.ones(n)),
        lambda x: F.ctc_loss(
            x.repeat(5, 1, 1).log_softmax(2), torch.ones(n, 2, dtype=torch.long), [5] * n, [1] * n, zero_infinity=True
        ),
    )
    return Apply(lambda m, x: x + way(x))
