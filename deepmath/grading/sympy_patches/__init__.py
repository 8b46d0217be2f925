"""Changes to sympy and math-verify inside the sandbox of a comparison. Each module says why and how it is tested."""
