"""A CUDA device for machines without one: tensors on it compute on the CPU, under torch's own rules for devices.

Each operation first goes through torch's `FakeTensorMode`, whose tensors have a device and no data, and which raises
where tensors of an operation lie on different devices.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
UNDECIDABLE = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)
ATEN = torch.ops.aten
DEVICES: dict[Any, torch.device] = {}
"""Where the result of an operation is, by the operation and where its arguments are."""


TO, GENERATORS = torch.Tensor.to, dict[int, str]()


class CudaTensor(torch.Tensor):
    """A tensor that is on the GPU as far as Python can see; torch's C++ takes it for one on the CPU."""

    inner: torch.Tensor
    device, is_cuda = CUDA, True
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "CudaTensor":
        # The keys are for autocast.
        made: CudaTensor = torch.Tensor._make_subclass(cls, inner, device_for_backend_keys=CUDA)  # type: ignore[attr-defined]
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None  # with both of these, `Module.to` swaps tensors, which keeps weights tied

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, torch.Tensor], *_: Any) -> "CudaTensor":
        return CudaTensor(inner["inner"])

    def __repr__(self, **_: Any) -> str:
        return f"on a GPU: {self.inner}"

    @property
    def data(self) -> Any:
        return self.detach()

    @data.setter
    def data(self, other: "CudaTensor") -> None:
        assert (self.shape, self.stride(), self.dtype) == (other.shape, other.stride(), other.dtype)
        self.inner = other.inner

    def cpu(self) -> torch.Tensor:
        return self.to(CPU)

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def tolist(self) -> Any:
        return self.inner.tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()


def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Take the place of `Tensor.to`."""
    if args and isinstance(args[0], torch.Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    copy = kwargs.pop("copy", False)
    device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
    same = TO(tensor, dtype or tensor.dtype, copy=copy)
    if device is None or device.type == tensor.device.type:
        return same
    assert not (torch.is_grad_enabled() and tensor.requires_grad)
    return same.detach().inner.clone() if isinstance(same, CudaTensor) else CudaTensor(same.detach().clone())


class Generator(torch.Generator):
    """A generator of random numbers on either device."""

    def __new__(cls, device: Any = CPU) -> "Generator":
        made = super().__new__(cls, CPU)
        GENERATORS[made._cdata] = torch.device(device).type
        return made

    def __init__(self, device: Any = CPU) -> None:
        self.device_type = device


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation as if its `CudaTensor`s were on a GPU."""
    if func is ATEN._fused_sdp_choice.default:
        return 1  # one kernel; the many operations that it stands for make masks where C++ takes the tensors to be
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if any(isinstance(tensor, CudaTensor) for tensor in tensors):
        kwargs = {**kwargs, "device": CUDA} if kwargs.get("device") else kwargs  # where C++ said "as that tensor"
    asked = torch.device(kwargs.get("device") or CPU)
    for leaf in leaves:
        if isinstance(leaf, torch._C.Generator) and GENERATORS.get(leaf._cdata, "cpu") != asked.type:
            raise RuntimeError(f"Expected a {asked.type!r} device type for generator")
    if asked.type != "cuda" and not any(isinstance(tensor, CudaTensor) for tensor in tensors):
        return func(*args, **kwargs)
    # torch's rules look at devices, and at whether a tensor is a single number.
    key = (func, asked.type, *((tensor.device, tensor.ndim == 0) for tensor in tensors))
    if key not in DEVICES:
        DEVICES[key] = device_of_result(func, args, kwargs, tensors, asked)
    wrappers = {id(tensor.inner): tensor for tensor in tensors if isinstance(tensor, CudaTensor)}
    bare_args, bare_kwargs = tree_map(lambda x: x.inner if isinstance(x, CudaTensor) else x, (args, kwargs))
    if "device" in kwargs:
        bare_kwargs["device"] = CPU
    found = func(*bare_args, **bare_kwargs)

    def wrapped(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or DEVICES[key] == CPU:
            return x
        return wrappers[id(x)] if id(x) in wrappers else CudaTensor(x)

    return tree_map(wrapped, found)


def device_of_result(func: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor], where: torch.device) -> Any:
    """Let torch check the devices of an operation, and say where its result is."""
    with FakeTensorMode(allow_non_fake_inputs=False):
        fakes = tree_map(
            lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
            if isinstance(x, torch.Tensor)
            else (None if isinstance(x, torch._C.Generator) else x),
            (args, kwargs),
        )
        try:
            results = tree_leaves(func(*fakes[0], **fakes[1]))
            return next((x.device for x in results if isinstance(x, torch.Tensor)), CPU)
        except UNDECIDABLE:
            pass
    devices = {tensor.device for tensor in tensors if tensor.ndim}
    if len(devices) > 1 and func not in (ATEN.index.Tensor, ATEN.index_put_.default):  # these take indices on the CPU
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} found {devices}")
    return tensors[0].device if tensors else where


class Pretending(TorchDispatchMode):
    """Sees operations that make tensors out of none."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Pretend that this machine has a GPU."""
    tensor, as_tensor = torch.tensor, torch.as_tensor
    with ExitStack() as stack:
        for name, value in {"is_available": True, "is_bf16_supported": True, "_lazy_init": None}.items():
            stack.enter_context(patch.object(torch.cuda, name, lambda *_, value=value, **__: value))
        for name, make in {"tensor": tensor, "as_tensor": as_tensor}.items():
            made = lambda *args, device=None, make=make, **kwargs: to(make(*args, **kwargs), device)  # noqa: E731
            stack.enter_context(patch.object(torch, name, made))
        stack.enter_context(patch.object(torch.Tensor, "to", to))
        stack.enter_context(patch.object(torch, "Generator", Generator))
        stack.enter_context(Pretending())
        yield
