"""precision=auto, and what stays float32 when networks compute in bfloat16."""

import contextlib
import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
from unittest import mock

import pytest
import tensorflow as tf
from absl.testing import parameterized

import contract
from kgzoo import kernels, layers, methods
from kgzoo.errors import UserError
from kgzoo.methods import precision
from kgzoo.methods.precision import Accelerator

ROOT = pathlib.Path(__file__).resolve().parent.parent
AMPERE, TURING, TPU = Accelerator("GPU", (8, 0)), Accelerator("GPU", (7, 5)), Accelerator("TPU")

# One row of each family, with what each adds to the networks: a decoder, a penalty on gradients and
# one on activations; learned gains; a linear system; trained kernels; density ratios; codes.
ROWS = (
    *("mmd_gan", "mmd_gan_gp_l2", "gcmmd", "sn_smmd", "rep_dk", "gram", "kernel_gan_critic"),
    *("info_ivae_dk", "wgan_gp", "sn_sobolev_gan", "hinge"),
)
# What may compute in bfloat16: the layers of the networks, forwards, backwards and twice
# backwards, the sums of their biases and of gradients, and what moves numbers about. No root,
# exponential, square, mean or solve.
MAY = {
    *("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul", "BiasAdd", "BiasAddGrad"),
    *("Relu", "ReluGrad", "LeakyRelu", "LeakyReluGrad", "AddV2", "AddN", "Sum"),
    *("Reshape", "StridedSlice", "StridedSliceGrad", "Fill", "ShapeN", "Squeeze"),
}
# The one that takes the layers' outputs as they are, and squares them in float32.
WIDER = {"bfloat16", "float32", "float64"}


class SupportTest(parameterized.TestCase):
    @parameterized.parameters(
        ({"avx512f", "amx_tile", "amx_bf16"}, [], True),
        ({"avx512f", "avx512_bf16"}, [], True),
        ({"avx512f", "avx512_vnni"}, [], False),
        ({"amx_int8", "amx_tile"}, [], False),
        (set(), [], False),
        # The device decides, and not the CPU beside it.
        ({"amx_bf16"}, [TURING], False),
        (set(), [AMPERE], True),
        (set(), [Accelerator("GPU", (12, 1))], True),
        (set(), [AMPERE, TURING], False),
        (set(), [TPU, TPU], True),
        (set(), [Accelerator("GPU")], False),
    )
    def test_who_has_it(self, flags, devices, expected):
        self.assertEqual(precision.supports_fast_bfloat16(flags, devices), expected)
        self.assertEqual(precision.supports_fast_bfloat16(list(flags), iter(devices)), expected)

    def test_flags_are_those_of_the_first_core(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "cpuinfo"
            with mock.patch.object(precision, "_CPUINFO", path):
                self.assertEqual(precision.present()[0], frozenset())
                path.write_text("model name\t: X\nflags\t\t: fpu amx_bf16\nbogomips\t: 1\n\n")
                self.assertEqual(precision.present()[0], {"fpu", "amx_bf16"})
                path.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
                self.assertEqual(precision.present()[0], frozenset())

    def test_devices_are_those_that_the_process_sees(self):
        def visible(kind):
            return [f"{kind}:0"] if kind == "GPU" else []

        details = {"device_name": "some", "compute_capability": (9, 0)}
        with (
            mock.patch.object(tf.config, "get_visible_devices", visible),
            mock.patch.object(tf.config.experimental, "get_device_details", lambda _: details),
        ):
            self.assertEqual(precision.present()[1], [Accelerator("GPU", (9, 0))])
            details.clear()
            self.assertEqual(precision.present()[1], [Accelerator("GPU")])

    def test_auto_is_one_of_the_two_and_other_names_stay(self):
        for found, name in (((["amx_bf16"], []), "mixed_bfloat16"), (([], []), "float32")):
            with mock.patch.object(precision, "present", return_value=found):
                self.assertEqual(precision.resolve("auto"), name)
                for other in ("float32", "mixed_bfloat16"):
                    self.assertEqual(precision.resolve(other), other)


def on(*flags):
    """Stands for a CPU with these flags and no accelerator."""
    return mock.patch.object(precision, "present", return_value=(flags, []))


class RunTest(tf.test.TestCase):
    def test_a_method_is_built_in_what_auto_stands_for(self):
        for flags, policy in ((("amx_bf16",), "mixed_bfloat16"), ((), "float32")):
            with on(*flags):
                method = contract.model("smmd", precision="auto")
            policies = {layer.dtype_policy.name for layer in method.generator.layers}
            self.assertIn(policy, policies)
            self.assertEqual(policy == "float32", "mixed_bfloat16" not in policies)
        with self.assertRaisesRegex(UserError, "precision='bfloat15' is not known"):
            methods.build({**contract.tiny_config("smmd"), "precision": "bfloat15"}, "image", ())

    def test_a_run_records_what_was_resolved_and_no_other_machine_resumes_it(self):
        # In a process of its own: a run sets determinism and threads for all that follows.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", TWO_MACHINES, folder],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=600,
            )
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            content = json.loads((pathlib.Path(folder) / "run" / "config.json").read_text())
        self.assertEqual(content["config"]["precision"], "mixed_bfloat16")
        self.assertEqual(content["runtime"]["precision"], "mixed_bfloat16")
        refused, resumed = done.stdout.splitlines()[-2:]
        self.assertRegex(refused, "precision=mixed_bfloat16, asked for is float32; restore the")
        self.assertEqual(resumed, "mixed_bfloat16 at step 1")


# `auto` where it is bfloat16; the same where it is not; there by its name; there from its folder.
TWO_MACHINES = """
import contextlib, io, pathlib, sys
from unittest import mock
from kgzoo import main
from kgzoo.errors import UserError
from kgzoo.methods import precision
workdir = pathlib.Path(sys.argv[1]) / "run"
tiny = "--config.generator_width=4 --config.critic_width=4 --config.batch_size=8"
tiny += " --config.num_samples=32 --config.sample_every_steps=0 --config.latent_dim=2"
tiny += f" --method=mmd_rep --dataset=ring2d --config.critic_steps=1 --workdir={workdir}"
def run(flags, *arguments):
    with mock.patch.object(precision, "present", return_value=(flags, [])):
        with contextlib.redirect_stdout(io.StringIO()):
            return main.main(["main", *tiny.split(), *arguments])
assert run(["amx_bf16"], "--steps=1", "--config.precision=auto") == 0
try:
    run([], "--steps=1", "--config.precision=auto")
except UserError as error:
    print(error)
assert run([], "--steps=1", "--config.precision=mixed_bfloat16") == 0
from kgzoo.training import run_folder
with mock.patch.object(precision, "present", return_value=([], [])):
    model, recorded, step = run_folder.load_run(workdir)
print(model.critic.layers[1].dtype_policy.name, "at step", step)
"""


class _Spy:
    """Notes the types of all floating tensors that functions of kgzoo get and give."""

    def __init__(self, stack):
        self.seen, self._stack = {}, stack
        loaded = [module for name, module in sys.modules.items() if name.startswith("kgzoo.")]
        for module in loaded:
            if module.__name__.startswith(("kgzoo.discrepancies.", "kgzoo.regularizers")):
                for name in module.__all__:
                    function = getattr(module, name)
                    if isinstance(function, types.FunctionType):
                        self._everywhere(loaded, name, function)
        for cls in self._subclasses(kernels.Kernel):
            for name in ("matrix", "matrices", "derivatives"):
                if name in vars(cls):
                    self._patch(cls, name, vars(cls)[name], f"{cls.__name__}.{name}")
        for name in ("sigma", "normalized_kernel"):
            self._patch(layers._Spectral, name, vars(layers._Spectral)[name], name)

    def _subclasses(self, cls):
        return {cls, *(c for direct in cls.__subclasses__() for c in self._subclasses(direct))}

    def _everywhere(self, modules, name, function):
        for module in modules:
            if vars(module).get(name) is function:
                self._patch(module, name, function, name)

    def _patch(self, owner, attribute, function, name):
        @functools.wraps(function)
        def spying(*args, **kwargs):
            result = function(*args, **kwargs)
            for what, values in (("given", [args, kwargs]), ("gives", result)):
                for value in tf.nest.flatten(values):
                    if isinstance(value, tf.Tensor) and value.dtype.is_floating:
                        self.seen.setdefault(f"{name} {what}", set()).add(value.dtype.name)
            return result

        self._stack.enter_context(mock.patch.object(owner, attribute, spying))


@functools.cache
def traced(name):
    """Returns a method in mixed_bfloat16, the graph of a step, and what functions of it saw."""
    with contextlib.ExitStack() as stack:
        method = contract.compiled(name, precision="mixed_bfloat16", critic_steps=1)
        batch = next(iter(contract.batches(name, method)))
        spy = _Spy(stack)
        step = tf.function(method.train_step, autograph=False)
        return method, step.get_concrete_function(batch).graph.as_graph_def(), spy.seen


def operations(graph, dtype):
    """Returns the kinds of operations that compute in a type, in all functions of a graph."""
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes if node.attr["T"].type == dtype.as_datatype_enum}


class FamiliesTest(tf.test.TestCase):
    """The other half of the rows tomorrow; all of them under `-m slow`."""

    names = ROWS[contract.day_of_year() % 2 :: 2]

    def test_nothing_but_networks_is_bfloat16(self):
        for name in self.names:
            with self.subTest(name):
                self.check(name)

    def check(self, name):
        method, graph, seen = traced(name)
        self.assertNotEmpty(seen)
        for function, dtypes in seen.items():
            wanted = WIDER if function == "activation_penalty given" else {"float32", "float64"}
            self.assertContainsSubset(dtypes, wanted, function)
        found = operations(graph, tf.bfloat16)
        self.assertNotEmpty(found & {"Conv2D", "MatMul"})
        self.assertEmpty(found - MAY)
        optimizers = method.optimizers.values()
        slots = [slot for optimizer in optimizers for slot in optimizer.variables]
        for weight in (*method.weights, *slots):
            self.assertIn(weight.dtype, ("float32", "int64", "int32"), weight.path)

    def test_the_spies_saw_what_each_family_is_about(self):
        for name, functions in {
            "mmd_gan": {"mmd2", "feasible_set", "reconstruction"},
            "mmd_gan_gp_l2": {"gradient_norms_squared", "witness", "activation_penalty"},
            "sn_smmd": {"features_and_jacobian", "smmd_scale", "sigma", "normalized_kernel"},
            "gcmmd": {"features_and_jacobian_gram", "gcmmd2", "_Stationary.derivatives"},
            "rep_dk": {"critic_loss", "mmd2", "Drawn.matrix", "sigma"},
            "gram": {"ratios", "critic_loss"},
            "kernel_gan_critic": {"jensen_shannon", "reconstruction"},
            "info_ivae_dk": {"stein_scores", "conditional_mmd", "bernoulli_log_likelihood"},
            "wgan_gp": {"gradient_norms_squared", "gradient_penalty"},
            "sn_sobolev_gan": {"features_and_jacobian", "sigma"},
            "hinge": {"sigma"},
        }.items():
            self.assertIn(name, ROWS)
            if name in self.names:
                found = {key.split()[0] for key in traced(name)[2]}
                self.assertContainsSubset(functions, found, name)
        for name, solve in (("gcmmd", "MatrixSolve"), ("info_ivae_dk", "Cholesky")):
            if name in self.names:
                self.assertIn(solve, operations(traced(name)[1], tf.float64), name)

    def test_a_leak_would_be_seen(self):
        with contextlib.ExitStack() as stack:
            spy = _Spy(stack)
            kernels.get("gaussian").matrix(*2 * [tf.zeros([2, 3], tf.bfloat16)])
        self.assertIn("bfloat16", spy.seen["_Stationary.matrix given"])
        root = tf.function(tf.sqrt).get_concrete_function(tf.TensorSpec([2], tf.bfloat16))
        graph = root.graph.as_graph_def()
        self.assertIn("Sqrt", operations(graph, tf.bfloat16) - MAY)


@pytest.mark.slow
class AllFamiliesTest(FamiliesTest):
    names = ROWS


if __name__ == "__main__":
    unittest.main()
