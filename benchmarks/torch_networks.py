"""The SN-DCGAN of Table S1 and three losses in PyTorch, as its users write them.

Channels-last, spectral normalisation by `torch.nn.utils.parametrizations`, Adam fused or foreach.
`Trainer.step` is one critic and one generator update, or both from one forward pass: what
`torch_step.py` times against kgzoo. The same weights give the same losses (`Trainer.check`).
"""

import contextlib
import time

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

__all__ = ["LOSSES", "ConvolutionCount", "Critic", "Generator", "Trainer", "load"]

_BANDWIDTHS = (1.0, 2.0**0.5, 2.0, 8.0**0.5, 4.0)
_STDDEV, _LEAK = 0.02, 0.1


class Generator(nn.Module):
    """Dense to 1/8 of the image, three transposed convolutions, a 3x3 convolution."""

    def __init__(self, latent_dim: int, size: int, channels: int, width: int, activation: str):
        super().__init__()
        self.base, self.width = size // 8, 8 * width
        self.dense = nn.Linear(latent_dim, self.base**2 * self.width)
        stages = []
        for filters in (4 * width, 2 * width, width):
            convolution = nn.ConvTranspose2d(2 * filters, filters, 4, 2, 1, bias=False)
            stages += [convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
        self.stages = nn.Sequential(*stages)
        self.image = nn.Conv2d(width, channels, 3, 1, 1)
        self.activation = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}[activation]
        _initialise(self)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        x = self.dense(latents).view(-1, self.width, self.base, self.base)
        x = x.contiguous(memory_format=torch.channels_last)
        return self.activation(self.image(self.stages(x)).float())


class Critic(nn.Module):
    """Seven convolutions with leaky ReLU and a dense layer, spectrally normalised or plain."""

    def __init__(self, size: int, channels: int, width: int, outputs: int, spectral: str):
        super().__init__()
        wrap = {"pim": parametrizations.spectral_norm, "none": lambda layer: layer}[spectral]
        layers, last = [], channels
        plan = [(width, 3, 1)]
        for stage in (1, 2, 3):
            plan += [(2**stage * width, 4, 2), (2**stage * width, 3, 1)]
        for filters, kernel, stride in plan:
            convolution = nn.Conv2d(last, filters, kernel, stride, 1)
            _initialise(convolution)
            layers += [wrap(convolution), nn.LeakyReLU(_LEAK, inplace=True)]
            last = filters
        self.convolutions = nn.Sequential(*layers)
        dense = nn.Linear((size // 8) ** 2 * last, outputs)
        _initialise(dense)
        self.dense = wrap(dense)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.dense(self.convolutions(images).flatten(1)).float()


def _initialise(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, std=_STDDEV)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _on_both(critic, real, fake, players):
    """Features of both; a generator's update alone needs no graph through the real ones."""
    if "critic" not in players:
        with torch.no_grad():
            on_real = critic(real)
        return on_real, critic(fake)
    return critic(torch.cat([real, fake])).split(len(real))


def _mmd2(x, y, bandwidths, paired):
    """Unbiased MMD^2 under a sum of Gaussian kernels; `paired`: cross terms without diagonal."""

    def kernel(a, b):
        squared = (a[:, None, :] - b[None, :, :]).square().sum(-1)
        return sum(torch.exp(-squared / (2 * bandwidth**2)) for bandwidth in bandwidths)

    def off_diagonal_mean(matrix):
        n = len(matrix)
        return (matrix.sum() - matrix.diagonal().sum()) / (n * (n - 1))

    cross = kernel(x, y)
    cross = off_diagonal_mean(cross) if paired else cross.mean()
    return off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * cross


def _hinge(critic, real, fake, players):
    if "critic" not in players:
        return {"generator": -critic(fake).mean()}
    on_real, on_fake = _on_both(critic, real, fake, players)
    loss = torch.relu(1 - on_real).mean() + torch.relu(1 + on_fake).mean()
    return {"critic": loss, "generator": -on_fake.mean()}


def _mmd_rbf(critic, real, fake, players):
    x, y = _on_both(critic, real, fake, players)
    value = _mmd2(x, y, _BANDWIDTHS, paired=True)
    return {"critic": -value, "generator": value}


def _smmd(critic, real, fake, players):
    real = real.detach().requires_grad_()
    x = critic(real)
    (gradient,) = torch.autograd.grad(x.sum(), real, create_graph="critic" in players)
    scale = 1 / (1 + 10 * gradient.float().square().sum((1, 2, 3)).mean())
    x = x if "critic" in players else x.detach()
    value = scale * _mmd2(x, critic(fake), (1.0,), paired=False)
    return {"critic": -value, "generator": value}


# Each gives the players' losses of one forward pass: critic, real and generated images, players.
LOSSES = {"hinge": _hinge, "mmd_rbf": _mmd_rbf, "smmd": _smmd}


def _adam(parameters: list[nn.Parameter], settings: dict) -> tuple[torch.optim.Adam, str]:
    """Returns Adam, fused or foreach: whichever takes its steps faster here."""
    seconds = {}
    for way in ("fused", "foreach"):
        copies = [nn.Parameter(torch.zeros_like(value)) for value in parameters]
        for value in copies:
            value.grad = torch.ones_like(value)
        trial = torch.optim.Adam(copies, **settings, **{way: True})
        trial.step()
        start = time.perf_counter()
        for _ in range(3):
            trial.step()
        seconds[way] = time.perf_counter() - start
    way = min(seconds, key=seconds.get)
    return torch.optim.Adam(parameters, **settings, **{way: True}), way


class Trainer:
    """Networks, optimizers and the step.

    Args:
        plan: what both sides train, as `torch_step.plan` makes it.
        precision: `float32`, or `bfloat16` by autocast.
        one_forward: whether both updates come from one forward pass.
    """

    def __init__(self, plan: dict, precision: str = "float32", one_forward: bool = False):
        torch.manual_seed(0)
        self.plan, self.loss = plan, LOSSES[plan["method"]]
        low = plan["image_range"][0]
        sizes = plan["size"], plan["channels"], plan["width"]
        self.networks = {
            "critic": Critic(*sizes, plan["output_dim"], plan["spectral"]),
            "generator": Generator(plan["latent_dim"], *sizes, "tanh" if low < 0 else "sigmoid"),
        }
        self.parameters, self.optimizers, self.adam = {}, {}, {}
        for player, network in self.networks.items():
            network.to(memory_format=torch.channels_last).train()
            self.parameters[player] = list(network.parameters())
            settings = {"lr": plan[f"{player}_learning_rate"], "eps": 1e-7}
            settings["betas"] = (plan["adam_beta1"], plan["adam_beta2"])
            found = _adam(self.parameters[player], settings)
            self.optimizers[player], self.adam[player] = found
        updates = [("critic",)] * plan["critic_steps"] + [("generator",)]
        self.schedule = [("critic", "generator")] if one_forward else updates
        self.autocast = precision == "bfloat16"

    def _cast(self):
        return torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext()

    def _in_range(self, images: torch.Tensor) -> torch.Tensor:
        low, high = self.plan["image_range"]
        return images.permute(0, 3, 1, 2).float().mul_((high - low) / 255).add_(low)

    def _latents(self, count: int) -> torch.Tensor:
        if self.plan["latent_distribution"] == "normal":
            return torch.randn(count, self.plan["latent_dim"])
        return torch.rand(count, self.plan["latent_dim"]) * 2 - 1

    def losses(self, real: torch.Tensor, latents: torch.Tensor, players: tuple[str, ...]) -> dict:
        """Returns the losses by player: real images in model range `[n, c, h, w]`."""
        with self._cast():
            with torch.set_grad_enabled("generator" in players):
                fake = self.networks["generator"](latents)
            # One power iteration and one sigma for all passes of an update.
            with parametrize.cached():
                return self.loss(self.networks["critic"], real, fake, players)

    def step(self, images: torch.Tensor) -> float:
        """Trains on uint8 images `[updates, n, h, w, c]`; returns the last player's loss."""
        for players, batch in zip(self.schedule, images, strict=True):
            real = self._in_range(batch)
            # In eval mode no power iteration runs: sigma moves with the critic alone.
            self.networks["critic"].train("critic" in players)
            losses = self.losses(real, self._latents(len(real)), players)
            for player in players:
                self.optimizers[player].zero_grad(set_to_none=True)
                more = player != players[-1]
                losses[player].backward(inputs=self.parameters[player], retain_graph=more)
            for player in players:
                self.optimizers[player].step()
        return losses[players[-1]].item()

    def check(self, arrays: dict[str, np.ndarray]) -> dict[str, list[float]]:
        """Returns losses, critic outputs and norms of gradients under the weights of `arrays`."""
        load(self.networks["generator"], arrays, "generator")
        load(self.networks["critic"], arrays, "critic")
        self.networks["critic"].eval()
        real = self._in_range(torch.from_numpy(arrays["real"]))
        latents = torch.from_numpy(arrays["latents"])
        with torch.no_grad():
            fake = self.networks["generator"](latents)
            outputs = self.networks["critic"](torch.cat([real, fake]))
        found = {"outputs": outputs.flatten().tolist()}
        for player, parameters in self.parameters.items():
            loss = self.losses(real, latents, (player,))[player]
            gradients = torch.autograd.grad(loss, parameters)
            norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
            found |= {f"{player} loss": [loss.item()], f"{player} gradient": [norm.item()]}
        return found


def load(network: nn.Module, arrays: dict[str, np.ndarray], prefix: str) -> None:
    """Copies a Keras network's weights, `prefix/<layer with weights>/<name>`, in order.

    Keras flattens images as height, width, channels, PyTorch as channels, height, width.
    """
    layers = [part for part in network.modules() if _has_weights(part)]
    shape = None
    for index, layer in enumerate(layers):
        mine = {
            key.rsplit("/", 1)[1]: torch.from_numpy(value)
            for key, value in arrays.items()
            if key.startswith(f"{prefix}/{index}/")
        }
        if isinstance(layer, nn.BatchNorm2d):
            names = {"gamma": "weight", "beta": "bias"}
            names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
            for key, name in names.items():
                getattr(layer, name).data.copy_(mine[key])
            continue
        weight, bias = mine["kernel"], mine.get("bias")
        if weight.ndim == 4:
            weight, shape = weight.permute(3, 2, 0, 1), weight.shape
        elif isinstance(network, Generator):
            order = (network.base, network.base, network.width)
            weight = weight.T.reshape(*order, -1).permute(2, 0, 1, 3).flatten(0, 2)
            bias = bias.reshape(order).permute(2, 0, 1).flatten()
        else:
            side = round((len(weight) / shape[3]) ** 0.5)
            weight = weight.reshape(side, side, shape[3], -1).permute(3, 2, 0, 1).flatten(1)
        _set(layer, weight, bias, mine.get("spectral_u"))


def _has_weights(part: nn.Module) -> bool:
    return isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d))


def _set(layer: nn.Module, weight, bias, left) -> None:
    if left is None:
        layer.weight.data.copy_(weight)
    else:
        layer.parametrizations.weight.original.data.copy_(weight)
        state = layer.parametrizations.weight[0]
        left = nn.functional.normalize(left.flatten(), dim=0)
        state._u.copy_(left)
        state._v.copy_(nn.functional.normalize(weight.flatten(1).T @ left, dim=0))
    if bias is not None:
        layer.bias.data.copy_(bias)


class ConvolutionCount(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts convolutions that run, and their floating-point operations, by kind.

    `work` is `{kind: [runs, operations]}` with the kinds `convolution`, `input gradient` and
    `filter gradient`. A transposed convolution is the input gradient of a convolution.
    """

    def __init__(self):
        super().__init__()
        kinds = ("convolution", "input gradient", "filter gradient")
        self.work = {kind: [0, 0] for kind in kinds}

    def _count(self, kind, small, weight):
        self.work[kind][0] += 1
        self.work[kind][1] += 2 * weight.numel() * small.shape[0] * small.shape[2:].numel()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **(keywords or {}))
        if function is torch.ops.aten.convolution.default:
            inputs, weight, transposed = arguments[0], arguments[1], arguments[6]
            kind = "input gradient" if transposed else "convolution"
            self._count(kind, inputs if transposed else found, weight)
        elif function is torch.ops.aten.convolution_backward.default:
            above, inputs, weight, transposed = *arguments[:3], arguments[7]
            kinds = ("convolution" if transposed else "input gradient", "filter gradient")
            for kind, wanted in zip(kinds, arguments[10], strict=False):
                if wanted:
                    self._count(kind, inputs if transposed else above, weight)
        return found
