"""The kernel that executes a chapter: this very Python's, whatever kernels the machine knows."""

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


class OwnKernel(AsyncKernelManager):
    """Start the ipykernel of the running interpreter.

    Kernels are otherwise looked up by name, and one of JUPYTER_PATH or of the user goes before it.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return how the kernel is started, for any name."""
        return KernelSpec(**get_kernel_dict())
