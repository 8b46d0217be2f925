"""nbclient: `notebook_client.py KERNEL CELL ...` runs the cells as a notebook; prints their outputs as JSON."""

import json
import sys

import nbclient
import nbformat


def main(kernel: str, *cells: str) -> None:
    """Run the notebook and print, for each cell, its outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, kernel_name=kernel, timeout=60, allow_errors=True).execute()
    nbformat.validate(notebook)
    print(json.dumps([cell.outputs for cell in notebook.cells]))


main(*sys.argv[1:])
