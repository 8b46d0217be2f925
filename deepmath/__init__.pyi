from deepmath.sdk import connect as connect
from deepmath.sdk import connect_async as connect_async

__version__: str
