"""The learned image codec as it is used: exact integer networks, their tables, and real bytes.

One `ImageModel` is one set of trained weights. `compress` and `decompress` run the same integer path for
everything that the decoder needs; only the analysis, which the decoder does not have, is floating point.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from nnvvc.entropy.coder import Models, SymbolDecoder, SymbolEncoder
from nnvvc.entropy.tables import PRECISION, Tables, index_of, log_scale_of, logistic_tables
from nnvvc.errors import DamagedStream, InexactArithmetic, InputError
from nnvvc.files import atomic_output
from nnvvc.models.context import ContextConfig, Step
from nnvvc.models.exact import (
    INT8,
    REFERENCE,
    SIGNED_LIMIT,
    SIGNED_SHIFT,
    check_bounds,
    exact_arithmetic,
    exact_conv,
    in_bands,
    make_exact,
    samples_of,
    shift_right,
    take_exact_path,
    use_path,
)
from nnvvc.models.layers import RATES, Conv
from nnvvc.models.lic import HYPER_STRIDE, LATENT_STRIDE, Lic, LicConfig
from nnvvc.models.simulate import choose_symbols

FORMAT = "nnvvc image model 1"
"""Name of the metadata entry of a weights file."""
MEAN_SHIFT = 4
"""Means and reconstructed latents, in quantiser steps, count in 2**-MEAN_SHIFT."""
STEP_SHIFT, INVERSE_SHIFT = 20, 16
"""Quantiser steps count in 2**-STEP_SHIFT of a latent's unit, their inverses in 2**-INVERSE_SHIFT."""
SYMBOL_LIMIT = 1 << 20
STRIP_SAMPLES = 1 << 23
"""Luma samples that the transforms work on at a time; larger pictures are done in strips of rows."""
HALO = 8
"""Rows of latents beyond a strip on either side: more than the transforms reach."""

Exchange = Callable[[Step, list[Tensor], list[NDArray[np.uint8]]], list[Tensor]]
"""Given a step's means (in 2**-MEAN_SHIFT steps) and scale indices, one each per phase: its symbols."""


@dataclass(frozen=True)
class RateTables:
    """What depends on the rate index alone, a row for each. All integers, made at export.

    rate (RATES,): the training's rate index q that stands for each QP, float32, for the encoder only. step,
    inverse, log_step (RATES, latents): quantiser step, its inverse, and its log2 in 1/16; hyper_index (RATES,
    hyper): scale index of the hyper-latents.
    """

    rate: Tensor
    step: Tensor
    inverse: Tensor
    log_step: Tensor
    hyper_index: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: Lic, q: Tensor) -> "RateTables":
        """The tables for the training's rate indices `q` (RATES,)."""
        log_steps = model.log_steps(q).double().cpu()
        hyper = torch.floor(model.hyper_scales(q).double().cpu() * 16 + 0.5)
        top = 2.0**30
        return cls(
            q.float(),
            torch.floor(torch.exp2(log_steps + STEP_SHIFT) + 0.5).clamp(1, top).to(torch.int32),
            torch.floor(torch.exp2(INVERSE_SHIFT - log_steps) + 0.5).clamp(1, top).to(torch.int32),
            torch.floor(log_steps * 16 + 0.5).to(torch.int32),
            torch.from_numpy(index_of(hyper.long().numpy())),
        )


def padded_size(width: int, height: int) -> tuple[int, int]:
    """Width and height rounded up to what the networks work on."""
    return -(-width // HYPER_STRIDE) * HYPER_STRIDE, -(-height // HYPER_STRIDE) * HYPER_STRIDE


class ImageModel:
    """A trained image codec. Make it with `ImageModel.load`.

    digest: SHA-256 of the weights file. path: how integer convolutions are computed here.
    """

    def __init__(self, networks: Lic, rates: RateTables, tables: Tables, answer: str, digest: bytes) -> None:
        self.networks = networks.eval()
        self.rates, self.tables, self.answer, self.digest = rates, tables, answer, digest
        self.config = networks.config
        self.symbol_models = Models(tables)
        self._costs = [-np.log2(t / float(1 << PRECISION)) for t in tables.split()]
        self.path = REFERENCE

    @property
    def device(self) -> torch.device:
        return self.rates.step.device

    # Loading and saving

    @classmethod
    def load(cls, file: Path, device: str = "cpu", path: str | None = None) -> "ImageModel":
        """Read a model and check on a known answer that this machine computes it exactly.

        path: `INT8` or `REFERENCE`, or the faster one that is right. Raises InputError for a file that is not
        such a model, InexactArithmetic where no path gives the known answer.
        """
        try:
            data = file.read_bytes()
            with safe_open(file, "pt") as opened:
                facts = opened.metadata() or {}
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file} is not a model file: {error}") from error
        if FORMAT not in facts:
            raise InputError(f"{file} is not an image model of this version")
        about = json.loads(facts[FORMAT])
        networks = exact_networks(Lic(config_from(about["config"])), torch.zeros(RATES))
        floats = {k: v for k, v in tensors.items() if not k.startswith("tables.")}
        networks.load_state_dict(widen(floats, networks), strict=True)
        check_bounds(networks)
        rates = RateTables(*(tensors[f"tables.{f.name}"].to(device) for f in fields(RateTables)))
        tables = Tables(tensors["tables.counts"].numpy(), tensors["tables.reach"].numpy())
        digest = hashlib.sha256(data).digest()
        model = cls(networks.to(device), rates, tables, about["answer"], digest)
        model.choose_path(path)
        return model

    def choose_path(self, path: str | None = None) -> None:
        """Take `path`, or the fastest one, after it gave the known answer. Raises InexactArithmetic."""
        candidates = [path] if path else [INT8, REFERENCE] if self.device.type == "cpu" else [REFERENCE]
        if take_exact_path(candidates, self._use, lambda: self.known_answer() == self.answer):
            return
        raise InexactArithmetic(
            f"this machine does not compute the image model exactly ({', '.join(candidates)} tried): "
            "pictures would come out wrong"
        )

    def _use(self, path: str) -> None:
        use_path(self.networks, path)
        self.path = path

    @torch.no_grad()
    def known_answer(self) -> str:
        """Digest of what all decoder networks give for fixed made-up latents."""
        c = self.config
        numbers = np.arange(c.latents * 64 + c.hyper * 4, dtype=np.uint64) * np.uint64(2654435761)
        noise = ((numbers >> np.uint64(13)) % np.uint64(8192)).astype(np.int64) - 4096
        latents = torch.from_numpy(noise[: c.latents * 64]).reshape(1, c.latents, 8, 8).to(self.device)
        hyper = torch.from_numpy(noise[c.latents * 64 :] >> 9).reshape(1, c.hyper, 2, 2).to(self.device)
        q = torch.tensor([33])
        digest = hashlib.sha256()
        with exact_arithmetic():
            features = self._features(hyper, q)
            for profile in self.networks.context.heads:
                for step in self.networks.context.steps(profile):
                    for index, phase in zip(step.contexts, step.phases, strict=True):
                        around = self.networks.context.spatial(index, phase, latents, features)
                        known = latents[:, : step.start, phase[0] :: 2, phase[1] :: 2]
                        for result in self.networks.context.parameters_of(profile, step, around, known, q):
                            digest.update(result.cpu().numpy().astype(np.int64).tobytes())
            planes = self.networks.synthesis(latents, q)
            digest.update(planes.cpu().numpy().astype(np.int64).tobytes())
        return digest.hexdigest()

    # Coding

    @torch.no_grad()
    def analyse(self, planes: Tensor, q: int) -> tuple[Tensor, Tensor]:
        """Latents (1, latents, H/16, W/16) and hyper-latents before rounding, of padded planes."""
        rate = self._rate(q)
        latents = self._in_strips(
            planes, HALO, LATENT_STRIDE // 2, lambda part: self.networks.analysis(part, rate)
        )
        return latents, self.networks.hyper_analysis(latents, rate)

    @torch.no_grad()
    def compress(self, latents: Tensor, hyper: Tensor, q: int, profile: str) -> tuple[bytes, Tensor]:
        """Code analysed (or finetuned) latents: the bytes, and the decoded latents in 2**-12."""
        coder = SymbolEncoder(self.symbol_models)
        decoded = self.code(latents, hyper, q, profile, coder.encode)
        return coder.finish(), decoded

    @torch.no_grad()
    def forward(self, latents: Tensor, hyper: Tensor, q: int, profile: str) -> tuple[float, Tensor]:
        """Like `compress`, but with the ideal number of bits under the model's tables instead of bytes."""
        bits = 0.0

        def count(symbols: NDArray[np.int32], indices: NDArray[np.uint8]) -> None:
            nonlocal bits
            for index in np.unique(indices):
                reach, cost = int(self.tables.reach[index]), self._costs[index]
                values = symbols[indices == index].astype(np.int64)
                over = np.abs(values) > reach
                bits += float(cost[np.where(over, 2 * reach + 1, values + reach)].sum()) + 12.0 * int(
                    over.sum()
                )

        decoded = self.code(latents, hyper, q, profile, count)
        return bits, decoded

    def code(
        self,
        latents: Tensor,
        hyper: Tensor,
        q: int,
        profile: str,
        take: Callable[[NDArray[np.int32], NDArray[np.uint8]], None],
    ) -> Tensor:
        """Quantise as the decoder will see it; `take` gets flat symbols and scale indices in coding order."""
        whole = torch.floor(hyper.double() + 0.5).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT).to(torch.int64)
        take(_flat([whole]), self._hyper_indices(whole.shape, q))
        step_sizes = self.rates.step[q].double() / 2.0**STEP_SHIFT
        weights = self.networks.symbol_weights(self._rate(q))[0].cpu()
        values = latents.double() / step_sizes[None, :, None, None]

        def exchange(step: Step, means: list[Tensor], indices: list[NDArray[np.uint8]]) -> list[Tensor]:
            symbols = []
            for (dy, dx), mean, index in zip(step.phases, means, indices, strict=True):
                part = slice(step.start, step.stop)
                offset = values[:, part, dy::2, dx::2] - mean.double() / 2.0**MEAN_SHIFT
                log_scale = torch.from_numpy(log_scale_of(index.astype(np.float32))).reshape(offset.shape)
                symbol = choose_symbols(offset.float().cpu(), log_scale, weights[part, None, None])
                symbol = symbol.to(self.device).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)
                symbols.append(symbol.to(torch.int64))
            take(_flat(symbols), np.concatenate(indices))
            return symbols

        return self._walk(whole, q, profile, exchange)

    @torch.no_grad()
    def decompress(self, data: bytes, width: int, height: int, q: int, profile: str) -> Tensor:
        """The decoded latents in 2**-12 of what `compress` wrote for a picture of this size.

        Raises DamagedStream or TruncatedStream.
        """
        coder = SymbolDecoder(self.symbol_models, data)
        wide, high = padded_size(width, height)
        shape = (1, self.config.hyper, high // HYPER_STRIDE, wide // HYPER_STRIDE)
        hyper = torch.from_numpy(coder.decode(self._hyper_indices(shape, q)).astype(np.int64))

        def exchange(step: Step, means: list[Tensor], indices: list[NDArray[np.uint8]]) -> list[Tensor]:
            flat = torch.from_numpy(coder.decode(np.concatenate(indices)).astype(np.int64)).to(self.device)
            sizes = [m.numel() for m in means]
            return [s.reshape(m.shape) for s, m in zip(torch.split(flat, sizes), means, strict=True)]

        try:
            latents = self._walk(hyper.reshape(shape).to(self.device), q, profile, exchange)
        except OverflowError as error:
            raise DamagedStream(f"the coded symbols are damaged: {error}") from error
        coder.finish()
        return latents

    @torch.no_grad()
    def synthesise(self, latents: Tensor, q: int) -> Tensor:
        """10-bit samples (1, 6, H/2, W/2), int32, of decoded latents in 2**-12."""
        rate = torch.tensor([q])

        def samples(part: Tensor) -> Tensor:
            return samples_of(self.networks.synthesis(part, rate))

        with exact_arithmetic():
            return self._in_strips(latents, HALO, LATENT_STRIDE // 2, samples, up=True)

    # Inside

    def _rate(self, qp: int) -> Tensor:
        return self.rates.rate[qp : qp + 1]

    def _features(self, hyper: Tensor, q: Tensor) -> Tensor:
        # Hyper-latents enter as quarters: 2**-2 is 2**(SIGNED_SHIFT - 2) steps of 2**-SIGNED_SHIFT.
        result: Tensor = self.networks.hyper_synthesis(hyper.clamp(-256, 256) << (SIGNED_SHIFT - 2), q)
        return result

    def _hyper_indices(self, shape: tuple[int, ...], q: int) -> NDArray[np.uint8]:
        per_channel = self.rates.hyper_index[q].cpu().numpy()
        return np.repeat(per_channel, shape[2] * shape[3])

    def _walk(self, hyper: Tensor, q: int, profile: str, exchange: Exchange) -> Tensor:
        """All coding steps; the decoded latents (1, latents, H/16, W/16), int32 in 2**-12."""
        context = self.networks.context
        rate = torch.tensor([q])
        inverse, step_size, log_step = (
            t[q].to(torch.int64)[None, :, None, None]
            for t in (self.rates.inverse, self.rates.step, self.rates.log_step)
        )
        with exact_arithmetic():
            features = self._features(hyper, rate)
            rows, columns = features.shape[2:]
            canvas = torch.zeros(1, self.config.latents, rows, columns, dtype=torch.int32, device=self.device)
            spatial: list[Tensor] = []
            for step in context.steps(profile):
                if step.group == 0:
                    spatial = [
                        context.spatial(i, p, canvas, features)
                        for i, p in zip(step.contexts, step.phases, strict=True)
                    ]
                part = slice(step.start, step.stop)
                mean_of = partial(_in_steps, inverse[:, part])
                value_of = partial(_reconstructed, step_size[:, part])
                means, indices = [], []
                for (dy, dx), around in zip(step.phases, spatial, strict=True):
                    known = canvas[:, : step.start, dy::2, dx::2]
                    mean, scale = context.parameters_of(profile, step, around, known, rate)
                    means.append(in_bands(mean_of, mean))
                    indices.append(index_of((scale - log_step[:, part]).cpu().numpy().reshape(-1)))
                symbols = exchange(step, means, indices)
                for (dy, dx), mean, symbol in zip(step.phases, means, symbols, strict=True):
                    canvas[:, part, dy::2, dx::2] = in_bands(value_of, symbol, mean)
        return canvas

    def _in_strips(
        self, x: Tensor, halo: int, factor: int, function: Callable[[Tensor], Tensor], up: bool = False
    ) -> Tensor:
        """`function` of x, a strip of rows at a time where x is large; the result is the same.

        halo: latent rows that a result row may depend on. factor: rows of planes per row of latents. `up`
        says that x are latents and the result planes; else the other way round.
        """
        rows, columns = (s if up else s // factor for s in x.shape[2:])
        count = max(HALO, STRIP_SAMPLES // (columns * LATENT_STRIDE**2))
        if rows <= count + 2 * HALO:
            return function(x)
        inward, outward = (1, factor) if up else (factor, 1)
        pieces = []
        for top in range(0, rows, count):
            first, last = max(top - halo, 0), min(top + count + halo, rows)
            result = function(x[:, :, first * inward : last * inward])
            skip, stop = (top - first) * outward, (min(top + count, rows) - first) * outward
            pieces.append(result[:, :, skip:stop])
        return torch.cat(pieces, 2)


def _in_steps(inverse: Tensor, mean: Tensor) -> Tensor:
    """Means of latents in 2**-SIGNED_SHIFT as means of symbols in 2**-MEAN_SHIFT."""
    product = mean.clamp(-SIGNED_LIMIT, SIGNED_LIMIT).to(torch.int64) * inverse
    return shift_right(product, SIGNED_SHIFT + INVERSE_SHIFT - MEAN_SHIFT)


def _reconstructed(step_size: Tensor, symbol: Tensor, mean: Tensor) -> Tensor:
    """Latents in 2**-SIGNED_SHIFT of symbols and their means."""
    value = (symbol.clamp(-2 * SYMBOL_LIMIT, 2 * SYMBOL_LIMIT) << MEAN_SHIFT) + mean
    value = shift_right(value * step_size, MEAN_SHIFT + STEP_SHIFT - SIGNED_SHIFT)
    return value.clamp(-SIGNED_LIMIT, SIGNED_LIMIT).to(torch.int32)


def _flat(parts: list[Tensor]) -> NDArray[np.int32]:
    result: NDArray[np.int32] = torch.cat([p.reshape(-1) for p in parts]).to(torch.int32).cpu().numpy()
    return result


# Packaging


def config_from(values: dict[str, Any]) -> LicConfig:
    """Network sizes from plain data, as recipes and model files have them."""
    context = dict(values.get("context", {}))
    if "groups" in context:
        context["groups"] = tuple(context["groups"])
    return LicConfig(**{**values, "context": ContextConfig(**context)})


def exact_networks(model: Lic, q: Tensor) -> Lic:
    """Make the decoder's networks of a trained model exact, in place, for the rate indices `q` (RATES,)."""
    for part in (model.synthesis, model.hyper_synthesis, model.context):
        make_exact(part, q)
    return model


def narrow(model: Lic) -> dict[str, Tensor]:
    """The tensors of a model whose decoder is exact, as they are stored: encoder weights in 8 bits too."""
    state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, Conv):
            whole = exact_conv(module, None, None)
            state[f"{name}.weight"] = whole.weight
            state[f"{name}.exponent"] = whole.exponent
    return {k: v.half() if v.dtype is torch.float32 and v.dim() > 1 else v for k, v in state.items()}


def widen(state: dict[str, Tensor], model: Lic) -> dict[str, Tensor]:
    """The inverse of `narrow` for loading into `model`."""
    result = dict(state)
    for name, module in model.named_modules():
        if isinstance(module, Conv):
            exponent = result.pop(f"{name}.exponent").float().reshape(-1, 1, 1, 1)
            result[f"{name}.weight"] = result[f"{name}.weight"].float() * torch.exp2(-exponent)
    return {k: v.float() if v.dtype is torch.float16 else v for k, v in result.items()}


@torch.no_grad()
def save_model(model: Lic, file: Path, tables: Tables | None = None, q: Tensor | None = None) -> ImageModel:
    """Write a trained model (which becomes exact, in place) as a weights file, and read it back.

    q (RATES,): the training's rate index for each QP; the QP itself where not given.
    """
    q = torch.arange(RATES, dtype=torch.float32) if q is None else q
    model.fold()
    rates = RateTables.of(model.cpu(), q)
    tables = tables or logistic_tables()
    networks = exact_networks(model, q)
    answer = ImageModel(networks, rates, tables, "", b"").known_answer()
    tensors = narrow(networks)
    tensors |= {f"tables.{f.name}": getattr(rates, f.name).contiguous() for f in fields(RateTables)}
    tensors |= {
        "tables.counts": torch.from_numpy(tables.counts),
        "tables.reach": torch.from_numpy(tables.reach),
    }
    # One entry only: their order in the file is not fixed, and the file's digest names the model.
    facts = {FORMAT: json.dumps({"config": asdict(model.config), "answer": answer})}
    with atomic_output(file) as output:
        output.write(save_tensors({k: v.contiguous() for k, v in tensors.items()}, facts))
    return ImageModel.load(file)


__all__ = ["ImageModel", "RateTables", "config_from", "padded_size", "save_model"]
