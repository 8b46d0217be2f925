"""The kernel's process, as the kernelspec starts it: `python -m deepmath.integrations.jupyter -f FILE`."""

from deepmath.integrations.jupyter.sandbox_kernel import SandboxKernelApp

if __name__ == "__main__":
    SandboxKernelApp.launch_instance()
