"""What workers do, as bytes: the network and the modules of the user travel by their content."""

from __future__ import annotations

import hashlib
import os
import pickle
import site
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from kernelviz.distributed.engines import Worker


def pack(make_worker: Callable[[], Worker], stack: ExitStack) -> tuple[str, Any]:
    """The hash of what workers do, and an array of its bytes, which they read from shared memory without a copy.

    Modules that are not installed, as a file with a network, are packed by their content until the end of the ``stack``;
    if that cannot be, by their names.

    Raises:
        UsageError: it holds something that cannot be packed.
    """
    import numpy as np
    from ray import cloudpickle

    own = ExitStack()
    for module in own_modules():
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            own.callback(cloudpickle.unregister_pickle_by_value, module)
    try:
        try:
            packed = cloudpickle.dumps(make_worker)
        except _UNPACKABLE:
            own.close()
            packed = cloudpickle.dumps(make_worker)
    except _UNPACKABLE as error:
        why = " ".join(str(error).split())[:300]
        raise UsageError("The network cannot be sent to other processes.", why, "Use one process.") from error
    finally:
        stack.push(own.pop_all())
    return hashlib.sha256(packed).hexdigest(), np.frombuffer(packed, np.uint8)


class Shared:
    """What workers do, in the memory that they share, only while one of them reads it.

    Ray's compiled client ends this process when the raylet of this machine ends while it refers to an object there, since
    it writes there that the object is lost. So what was read is dropped, and packed again for a worker that starts later.

    Args:
        make_worker: What is packed.
        stack: As ``pack`` takes it.

    Raises:
        UsageError: as ``pack``.
    """

    def __init__(self, make_worker: Callable[[], Worker], stack: ExitStack) -> None:
        self._make_worker, self._stack = make_worker, stack
        self.digest, packed = pack(make_worker, stack)
        self.key, self.size = self.digest, int(packed.nbytes)
        self._packed: Any = packed
        self._reference: Any = None

    def reference(self) -> Any:
        """Ray's reference to it, which may be held by calls alone; ``digest`` is the hash of its bytes."""
        import ray

        if self._reference is None:
            if self._packed is None:
                self.digest, self._packed = pack(self._make_worker, self._stack)
            self._reference, self._packed = ray.put(self._packed), None
        return self._reference

    def drop(self) -> None:
        """Free the memory once all have read it."""
        self._reference = None


def unpack(digest: str, packed: Any) -> Callable[[], Worker]:
    """What ``pack`` made, from shared memory.

    Raises:
        ValueError: it is not what was sent.
    """
    from ray import cloudpickle

    if hashlib.sha256(packed).hexdigest() != digest:
        raise ValueError("The network arrived damaged.")
    make_worker: Callable[[], Worker] = cloudpickle.loads(packed)
    return make_worker


_UNPACKABLE = (TypeError, AttributeError, NotImplementedError, pickle.PicklingError, RuntimeError)


def own_modules() -> list[ModuleType]:
    """The modules that are not installed; those of ``__main__`` are always packed by their content."""
    places = {
        str(PACKAGE), *sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages(),
        *(each for each in sys.path if each and any(Path(each).glob("*.dist-info"))),  # of `pip install --target`
    }  # fmt: skip
    installed = tuple(f"{each}{os.sep}" for place in places for each in {place, os.path.realpath(place)})
    return [
        module
        for name, module in list(sys.modules.items())
        if name not in ("__main__", "__mp_main__")
        and getattr(module, "__name__", None) == name
        and (file := getattr(module, "__file__", None))
        and not file.startswith(installed)
        and not os.path.realpath(file).startswith(installed)
    ]


PACKAGE = Path(__file__).resolve().parents[1]
