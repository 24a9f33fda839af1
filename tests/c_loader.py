"""An export as C and C++ programs load it: TensorFlow's C API, by ctypes.

What TensorFlow Serving does: the loader of SavedModels, then one session run for each request. No
function of `tf.saved_model` takes part.
"""

import ctypes
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

__all__ = ["LIBRARY", "CExport"]

# There is none in the wheels for macOS.
LIBRARY = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"

_STRING = int(tf.string.as_datatype_enum)


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, arguments in (
        ("TF_NewStatus", pointer, ()),
        ("TF_DeleteStatus", None, (pointer,)),
        ("TF_GetCode", ctypes.c_int, (pointer,)),
        ("TF_Message", text, (pointer,)),
        ("TF_NewGraph", pointer, ()),
        ("TF_DeleteGraph", None, (pointer,)),
        ("TF_NewBuffer", ctypes.POINTER(_Buffer), ()),
        ("TF_DeleteBuffer", None, (pointer,)),
        ("TF_NewSessionOptions", pointer, ()),
        ("TF_DeleteSessionOptions", None, (pointer,)),
        ("TF_LoadSessionFromSavedModel", pointer, None),
        ("TF_CloseSession", None, (pointer, pointer)),
        ("TF_DeleteSession", None, (pointer, pointer)),
        ("TF_GraphOperationByName", pointer, (pointer, text)),
        ("TF_AllocateTensor", pointer, (ctypes.c_int, pointer, ctypes.c_int, size)),
        ("TF_DeleteTensor", None, (pointer,)),
        ("TF_TensorData", pointer, (pointer,)),
        ("TF_TensorByteSize", size, (pointer,)),
        ("TF_TensorType", ctypes.c_int, (pointer,)),
        ("TF_NumDims", ctypes.c_int, (pointer,)),
        ("TF_Dim", ctypes.c_int64, (pointer, ctypes.c_int)),
        ("TF_StringGetDataPointer", pointer, (pointer,)),
        ("TF_StringGetSize", size, (pointer,)),
        ("TF_SessionRun", None, None),
    ):
        function = getattr(library, name)
        function.restype = result
        if arguments is not None:
            function.argtypes = arguments
    return library


class CExport:
    """A version folder of an export, opened by the C API.

    Attributes:
        signatures: SignatureDefs by name, without those of TensorFlow itself.
    """

    def __init__(self, folder):
        self._c = _library()
        self._status, self._graph = self._c.TF_NewStatus(), self._c.TF_NewGraph()
        options, meta_graph = self._c.TF_NewSessionOptions(), self._c.TF_NewBuffer()
        self._session = self._c.TF_LoadSessionFromSavedModel(
            ctypes.c_void_p(options),
            None,
            str(folder).encode(),
            (ctypes.c_char_p * 1)(b"serve"),
            1,
            ctypes.c_void_p(self._graph),
            meta_graph,
            ctypes.c_void_p(self._status),
        )
        self._c.TF_DeleteSessionOptions(options)
        self._check()
        held = meta_graph.contents
        message = ctypes.string_at(held.data, held.length)
        self._c.TF_DeleteBuffer(meta_graph)
        found = meta_graph_pb2.MetaGraphDef.FromString(message).signature_def
        self.signatures = {name: of for name, of in found.items() if not name.startswith("__")}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._c.TF_CloseSession(self._session, self._status)
        self._c.TF_DeleteSession(self._session, self._status)
        self._c.TF_DeleteGraph(self._graph)
        self._c.TF_DeleteStatus(self._status)

    def ask(self, signature, **request):
        """Returns the response to arrays by their keys; strings come as bytes objects."""
        of = self.signatures[signature]
        keys = list(of.outputs)
        inputs = [self._output(of.inputs[key].name) for key in request]
        outputs = [self._output(of.outputs[key].name) for key in keys]
        given = [
            self._tensor(np.asarray(value, tf.as_dtype(of.inputs[key].dtype).as_numpy_dtype))
            for key, value in request.items()
        ]
        answers = (ctypes.c_void_p * len(keys))()
        try:
            self._c.TF_SessionRun(
                ctypes.c_void_p(self._session),
                None,
                (_Output * len(inputs))(*inputs),
                (ctypes.c_void_p * len(given))(*given),
                len(given),
                (_Output * len(outputs))(*outputs),
                answers,
                len(keys),
                None,
                0,
                None,
                ctypes.c_void_p(self._status),
            )
            self._check()
            return {key: self._array(each) for key, each in zip(keys, answers, strict=True)}
        finally:
            for each in (*given, *answers):
                if each:
                    self._c.TF_DeleteTensor(each)

    def _check(self):
        if self._c.TF_GetCode(self._status):
            raise RuntimeError(self._c.TF_Message(self._status).decode())

    def _output(self, name):
        operation, _, index = name.partition(":")
        found = self._c.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise KeyError(f"{name} is not in the graph")
        return _Output(found, int(index or 0))

    def _tensor(self, array):
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        dtype = int(tf.as_dtype(array.dtype).as_datatype_enum)
        tensor = self._c.TF_AllocateTensor(dtype, dims, array.ndim, array.nbytes)
        if array.nbytes:
            ctypes.memmove(self._c.TF_TensorData(tensor), array.tobytes(), array.nbytes)
        return tensor

    def _array(self, tensor):
        shape = [self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor))]
        dtype, count = self._c.TF_TensorType(tensor), int(np.prod(shape))
        data, size = self._c.TF_TensorData(tensor), self._c.TF_TensorByteSize(tensor)
        if dtype != _STRING:
            numpy = tf.as_dtype(dtype).as_numpy_dtype
            held = ctypes.string_at(data, size) if size else b""
            return np.frombuffer(held, numpy).reshape(shape)
        texts = np.empty(count, object)
        for place in range(count):
            at = data + place * (size // count)
            length = self._c.TF_StringGetSize(at)
            texts[place] = ctypes.string_at(self._c.TF_StringGetDataPointer(at), length)
        return texts.reshape(shape)
