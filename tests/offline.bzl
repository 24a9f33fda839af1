"""Lets a plain py_test run without a network under the Bazel versions that know WORKSPACE.

Bazel's own py_test asks for three rule repositories and a coverage tool that a Python project
never uses, and would download them. Here they are made on the spot: the rules are those built
into Bazel, the coverage tool is empty, and the interpreter is the python3 on PATH.
"""

_BUILT_IN_RULES = {
    "cc": [
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_proto_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
        "objc_library",
    ],
    "java": [
        "java_binary",
        "java_import",
        "java_library",
        "java_proto_library",
        "java_runtime",
        "java_toolchain",
    ],
    "proto": [
        "proto_lang_toolchain",
        "proto_library",
    ],
}

_LOCAL_PYTHON = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(name = "python3", interpreter_path = "%s", python_version = "PY3")

py_runtime_pair(name = "pair", py3_runtime = ":python3")

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _built_in_rules_impl(ctx):
    language = ctx.attr.language
    rules = ["%s = native.%s\n" % (rule, rule) for rule in _BUILT_IN_RULES[language]]
    ctx.file(language + "/BUILD.bazel", "")
    ctx.file(language + "/defs.bzl", "".join(rules))

_built_in_rules = repository_rule(
    implementation = _built_in_rules_impl,
    attrs = {"language": attr.string(mandatory = True)},
)

def _empty_coverage_tools_impl(ctx):
    ctx.file("BUILD.bazel", """
filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])
""")

_empty_coverage_tools = repository_rule(implementation = _empty_coverage_tools_impl)

def _local_python_impl(ctx):
    python3 = ctx.which("python3")
    if python3 == None:
        fail("python3 is not on PATH; kgzoo needs Python 3.11 or later.")
    ctx.file("BUILD.bazel", _LOCAL_PYTHON % python3)

_local_python = repository_rule(
    implementation = _local_python_impl,
    environ = ["PATH"],
    local = True,
)

def offline_repositories():
    """Declares the stand-ins; called once, by WORKSPACE."""
    for language in _BUILT_IN_RULES:
        _built_in_rules(name = "rules_" + language, language = language)
    _empty_coverage_tools(name = "remote_coverage_tools")
    _local_python(name = "local_python")
    native.register_toolchains("@local_python//:toolchain")
