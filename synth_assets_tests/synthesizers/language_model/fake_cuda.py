"""A CUDA device for machines without one: tensors on it compute on the CPU, under torch's own rules for devices.

Each operation first goes through torch's `FakeTensorMode`, whose tensors have a device and no data, and which raises
where the tensors of an operation lie on different devices. Autocast is the one for CPUs.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses import fake_tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from synth_assets.synthesizers.language_model import graphs

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
ATEN = torch.ops.aten
TO, TENSOR, AS_TENSOR, AUTOCAST = torch.Tensor.to, torch.tensor, torch.as_tensor, torch.autocast
SUBMIT = ThreadPoolExecutor.submit
UNDECIDABLE = (
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedOperatorException,
)
DEVICES: dict[Any, torch.device] = {}  # of the result, by the operation and the devices of its arguments
GENERATORS: dict[int, str] = {}  # the type of the device of each


class CudaTensor(torch.Tensor):
    """A tensor that is on the GPU as far as Python can see; torch's C++ takes it for one on the CPU."""

    inner: torch.Tensor
    device, is_cuda = CUDA, True
    __torch_function__ = torch._C._disabled_torch_function_impl
    __torch_dispatch__ = classmethod(lambda cls, func, types, args=(), kwargs=None: run(func, args, kwargs or {}))
    # With the next two, `Module.to` swaps tensors, which keeps weights tied.
    __tensor_flatten__ = lambda self: (["inner"], None)  # noqa: E731
    __tensor_unflatten__ = staticmethod(lambda inner, *_: CudaTensor(inner["inner"]))
    cpu = lambda self: to(self, CPU)  # noqa: E731
    __repr__ = lambda self, **_: f"on a GPU: {self.inner}"  # noqa: E731
    tolist = lambda self: self.inner.tolist()  # noqa: E731
    data_ptr = lambda self: self.inner.data_ptr()  # noqa: E731
    untyped_storage = lambda self: self.inner.untyped_storage()  # noqa: E731
    data = property(lambda self: self.detach(), lambda self, other: setattr(self, "inner", other.inner))

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "CudaTensor":
        made: CudaTensor = torch.Tensor._make_subclass(cls, inner)
        made.inner = inner
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> "CudaTensor":
        if id(self) not in memo:
            memo[id(self)] = CudaTensor(self.inner.detach().clone()).requires_grad_(self.requires_grad)
        copied: CudaTensor = memo[id(self)]
        return copied

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Take the place of `Tensor.to`."""
    if args and isinstance(args[0], torch.Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    copy = kwargs.pop("copy", False)
    device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
    same = TO(tensor, dtype or tensor.dtype, copy=copy)
    if device is None or device.type == tensor.device.type:
        return same
    assert not (torch.is_grad_enabled() and tensor.requires_grad), "moving within a graph is not pretended"
    return same.detach().inner.clone() if isinstance(same, CudaTensor) else CudaTensor(same.detach().clone())


class Generator(torch.Generator):
    """A generator of random numbers on either device."""

    def __new__(cls, device: Any = CPU) -> "Generator":
        made = super().__new__(cls, CPU)
        GENERATORS[made._cdata] = torch.device(device).type
        return made


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation as if its `CudaTensor`s were on a GPU."""
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    wrappers = {id(tensor.inner): tensor for tensor in tensors if isinstance(tensor, CudaTensor)}
    # Beside a tensor on the GPU, a device that C++ names is that tensor's.
    asked = CUDA if wrappers else torch.device(kwargs.get("device") or CPU)
    for leaf in leaves:
        if isinstance(leaf, torch._C.Generator) and GENERATORS.get(leaf._cdata, "cpu") != asked.type:
            raise RuntimeError(f"Expected a {asked.type!r} device type for generator")
    if asked.type != "cuda":
        return func(*args, **kwargs)
    if func is ATEN._fused_sdp_choice.default:
        return 1  # one kernel; the operations that it stands for make a mask on the device that C++ sees
    # torch's rules look at devices, and at whether a tensor is a single number.
    key = (func, *((tensor.device, tensor.ndim == 0) for tensor in tensors))
    if key not in DEVICES:
        DEVICES[key] = device_of_result(func, args, kwargs, tensors)
    bare_args, bare_kwargs = tree_map_only(CudaTensor, lambda x: x.inner, (args, kwargs))
    found = func(*bare_args, **(bare_kwargs | ({"device": CPU} if "device" in kwargs else {})))
    if DEVICES[key] == CPU:
        return found
    return tree_map_only(torch.Tensor, lambda x: wrappers[id(x)] if id(x) in wrappers else CudaTensor(x), found)


def device_of_result(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[torch.Tensor]) -> torch.device:
    """Let torch check the devices of an operation, and say where its result is."""

    def fake(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
        return None if isinstance(x, torch._C.Generator) else x

    kwargs = kwargs | ({"device": CUDA} if kwargs.get("device") else {})
    with fake_tensor.FakeTensorMode():
        fake_args, fake_kwargs = tree_map(fake, (args, kwargs))
        try:
            results = tree_leaves(func(*fake_args, **fake_kwargs))
            return next((x.device for x in results if isinstance(x, torch.Tensor)), CPU)
        except UNDECIDABLE:  # without data
            devices = {tensor.device for tensor in tensors if tensor.ndim}
            if len(devices) > 1 and func not in (ATEN.index.Tensor, ATEN.index_put_.default):  # indices may be on a CPU
                raise RuntimeError(f"Expected all tensors to be on the same device; {func} found {devices}") from None
            return tensors[0].device


class _Pretending(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def submit(threads: ThreadPoolExecutor, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    """Take the place of `ThreadPoolExecutor.submit`: a mode of torch holds in one thread."""

    def pretending() -> Any:
        with _Pretending():
            return function(*args, **kwargs)

    return SUBMIT(threads, pretending)


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Pretend that this machine has a GPU."""
    with ExitStack() as stack:
        for owner, name, value in (
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "_lazy_init", lambda: None),
            (torch.cuda, "mem_get_info", lambda: (80_000_000_000, 80_000_000_000)),
            (torch.cuda, "graph_pool_handle", lambda: None),
            (graphs, "captured", lambda run, pool: run),
            (torch.Tensor, "pin_memory", lambda self: self),
            (torch, "tensor", lambda *args, device=None, **kwargs: to(TENSOR(*args, **kwargs), device)),
            (torch, "as_tensor", lambda *args, device=None, **kwargs: to(AS_TENSOR(*args, **kwargs), device)),
            (torch, "autocast", lambda device_type, *args, **kwargs: AUTOCAST("cpu", *args, **kwargs)),
            (torch, "Generator", Generator),
            (torch.Tensor, "to", to),
            (ThreadPoolExecutor, "submit", submit),
        ):
            stack.enter_context(patch.object(owner, name, value))
        stack.enter_context(_Pretending())
        yield
