"""The two sides that `torch_step.py` times, each a process: kgzoo, and the same in PyTorch.

  python benchmarks/torch_sides.py kgzoo|torch

reads requests from standard input, a JSON object a line, and answers each on a line of standard
output: `prepare` builds and warms up a step, `run` times it, `check` computes losses, outputs and
gradients from weights that both sides share, `forget` drops the steps.
"""

import json
import os
import sys
import time

import numpy as np

__all__ = ["KgzooSide", "SIDES", "TorchSide", "pairs", "serve"]

_PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_WARM_UP_STEPS = 2


def pairs(text: str) -> dict[str, str]:
    """Returns the fields of `name=value,...`."""
    return dict(pair.split("=", 1) for pair in text.split(",") if pair)


def _images(settings: dict, updates: int) -> np.ndarray:
    """Noise around a colour of each image's own, by which a critic's outputs differ."""
    random = np.random.RandomState(0)
    shape = (updates, settings["batch_size"], settings["size"], settings["size"], 3)
    colours = random.randint(0, 192, (*shape[:2], 1, 1, 3), np.uint8)
    return colours + random.randint(0, 64, shape, np.uint8)


class KgzooSide:
    """Builds and steps kgzoo's methods; `work` is read off the graph of the step."""

    def __init__(self):
        from kgzoo import cli

        cli.quiet_tensorflow()
        self.steps, self.prepared = {}, False

    def prepare(self, plan: dict, variant: str, one_forward: str = "") -> dict:
        """Makes a step ready and runs it; returns what is in it."""
        import tensorflow as tf

        model = self._model(plan, variant, one_forward)
        images = tf.constant(_images(plan, len(model.schedule)))
        step = tf.function(model.train_step, autograph=False)
        graph = step.get_concrete_function(images).graph

        def run() -> float:
            return float(step(images)["generator_loss"])

        self.steps[variant] = run
        for _ in range(_WARM_UP_STEPS):
            run()
        return {"work": _graph_work(graph), "updates": len(model.schedule)}

    def _model(self, plan: dict, variant: str, one_forward: str = ""):
        from kgzoo import config, methods
        from kgzoo.training import runtime

        extra = pairs(one_forward)
        precision = "float32" if one_forward else _PRECISIONS[variant]
        fields = {**plan["fields"], "precision": precision, **extra}
        settings = config.compose(plan["method"], "cifar10", overrides=fields)
        if not self.prepared:
            # Once: a second call would have every step of before built again.
            runtime.prepare(settings)
            self.prepared = True
        model = methods.build(settings, "image", (plan["size"], plan["size"], 3))
        model.compile(methods.build_optimizers(settings, model.players))
        return model

    def check(self, plan: dict, path: str) -> dict:
        """Writes weights, images and latents to a file; returns what they give."""
        import tensorflow as tf

        from kgzoo.methods import Batch
        from kgzoo.methods.noise import Noise

        model = self._model(plan, "float32")
        real = _images(plan, 1)[0]
        if plan["spectral"] == "none":
            _rescale(model.critic)
        batch = Batch(model.to_model_range(real), Noise(0, tf.constant(0, tf.int64), 0))
        latents = batch.noise.latents(len(real), model.latent_dim, model.latent_distribution)
        arrays = {"real": real, "latents": latents.numpy()}
        for prefix in ("generator", "critic"):
            arrays |= _weights(getattr(model, prefix), prefix)
        np.savez(path, **arrays)
        both = tf.concat([batch.real, model.generate(batch, ("critic",))], axis=0)
        found = {"outputs": model.critic_outputs(both).numpy().ravel().tolist()}
        for player, variables in model.players.items():
            with tf.GradientTape() as tape:
                loss = model.losses(batch, (player,))[player][0]
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            norm = tf.linalg.global_norm(gradients)
            found |= {f"{player} loss": [float(loss)], f"{player} gradient": [float(norm)]}
        return found


def _rescale(network) -> None:
    """Gives kernels variances of 2 / fan-in: a narrow plain network would pass nothing on."""
    for variable in network.trainable_variables:
        if len(variable.shape) > 1:
            kernel = np.asarray(variable)
            fan_in = np.prod(kernel.shape[:-1])
            variable.assign(kernel / kernel.std() * np.sqrt(2 / fan_in))


def _weights(network, prefix: str) -> dict[str, np.ndarray]:
    """Returns a Keras network's weights by `prefix/<layer with weights>/<name>`."""
    layers = [layer for layer in network.layers if layer.weights]
    return {
        f"{prefix}/{index}/{weight.name}": np.asarray(weight)
        for index, layer in enumerate(layers)
        for weight in layer.weights
    }


def _graph_work(graph) -> dict[str, list]:
    """Counts the convolutions that a step's graph runs: `{kind: [runs, operations]}`."""
    kinds = {
        "Conv2D": ("convolution", lambda op: (op.outputs[0], op.inputs[1])),
        "Conv2DBackpropInput": ("input gradient", lambda op: (op.inputs[2], op.inputs[1])),
        "Conv2DBackpropFilter": ("filter gradient", lambda op: (op.inputs[2], op.outputs[0])),
    }
    work = {kind: [0, 0] for kind, _ in kinds.values()}
    # What neither an output nor a change of state asks for does not run.
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = set()
    while waiting:
        op = waiting.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
        if op.type in kinds:
            kind, tensors = kinds[op.type]
            small, kernel = (tensor.shape for tensor in tensors(op))
            work[kind][0] += 1
            operations = 2 * kernel.num_elements() * small[:3].num_elements()
            work[kind][1] += operations
    return work


class TorchSide:
    """Builds and steps the same in PyTorch; `work` is counted while a step runs."""

    def __init__(self):
        import torch

        self.torch = torch
        self.steps = {}

    def prepare(self, plan: dict, variant: str, one_forward: str = "") -> dict:
        """Makes a step ready and runs it; returns what is in it."""
        import torch_networks

        self.torch.set_num_threads(plan["threads"])
        precision = "float32" if one_forward else variant
        trainer = torch_networks.Trainer(plan, precision, bool(one_forward))
        images = self.torch.from_numpy(_images(plan, len(trainer.schedule)))
        self.steps[variant] = lambda: trainer.step(images)
        with torch_networks.ConvolutionCount() as count:
            trainer.step(images)
        for _ in range(_WARM_UP_STEPS):
            trainer.step(images)
        updates = len(trainer.schedule)
        return {"work": count.work, "updates": updates, "adam": trainer.adam["critic"]}

    def check(self, plan: dict, path: str) -> dict:
        """Reads the file that the other side wrote; returns what it gives here."""
        import torch_networks

        with np.load(path, allow_pickle=False) as arrays:
            return torch_networks.Trainer(plan).check(dict(arrays))


SIDES = {"kgzoo": KgzooSide, "torch": TorchSide}


def serve(name: str) -> None:
    """Answers requests, a JSON object a line, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    side = SIDES[name]()
    for line in sys.stdin:
        request = json.loads(line)
        verb = request.pop("verb")
        if verb == "run":
            step, cpu, start = side.steps[request["variant"]], time.process_time(), time.time()
            for _ in range(request["steps"]):
                loss = step()
            answer = {"seconds": (time.time() - start) / request["steps"], "loss": loss}
            answer["cpu_seconds"] = (time.process_time() - cpu) / request["steps"]
        elif verb == "forget":
            side.steps.clear()
            answer = {}
        else:
            answer = getattr(side, verb)(**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
