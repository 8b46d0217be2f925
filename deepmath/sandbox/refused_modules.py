"""Modules that a snippet may not import by default, with the reason and what to do instead.

The names are standard modules of Python 3.11 to 3.13, and well-known libraries that need the same things.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefusedModules:
    """Modules that are refused for the same `reason`; `advice` says what a snippet does instead."""

    reason: str
    advice: str
    names: frozenset[str]

    @classmethod
    def of(cls, names: str, reason: str, advice: str) -> "RefusedModules":
        """Return the entry of the modules in `names`, which are separated by spaces."""
        return cls(reason, advice, frozenset(names.split()))


# Private modules, whose names start with an underscore, are refused for the same reason.
_IMPLEMENTATION = RefusedModules.of(
    "sre_compile sre_constants sre_parse xxsubtype",
    "it is an implementation detail of Python",
    "import the public module",
)

REFUSED_MODULES = (
    RefusedModules.of(
        "os posix posixpath ntpath genericpath nturl2path pathlib shutil tempfile glob fileinput filecmp linecache",
        "a snippet has no files and no environment",
        "assign the data in the code, and print the result",
    ),
    RefusedModules.of(
        "dbm mailbox mimetypes netrc shelve sqlite3 tarfile wave zipfile gettext",
        "a snippet has no files",
        "keep the data in lists and dictionaries",
    ),
    RefusedModules.of(
        "zoneinfo dateutil pytz",
        "there is no time zone database",
        "use datetime.timezone with a fixed offset",
    ),
    RefusedModules.of(
        "threading multiprocessing concurrent subprocess asyncio pty joblib sh psutil",
        "a snippet is one process with one thread",
        "call the function directly",
    ),
    RefusedModules.of(
        "signal timeout_decorator func_timeout",
        "the time limit of the snippet is set from outside",
        "compute without an alarm",
    ),
    RefusedModules.of(
        "atexit",
        "the session lives on after a snippet",
        "call the function at the end of the snippet",
    ),
    RefusedModules.of(
        "socket ssl select selectors socketserver urllib http ftplib imaplib poplib smtplib xmlrpc wsgiref webbrowser "
        "antigravity requests httpx aiohttp urllib3 bs4",
        "there is no network",
        "compute the answer, or assign the data in the code",
    ),
    RefusedModules.of(
        "tkinter turtle turtledemo idlelib curses matplotlib pylab seaborn plotly bokeh altair pyglet pygame cv2 PIL "
        "IPython ipywidgets graphviz",
        "there is no display",
        "print numbers or text",
    ),
    RefusedModules.of(
        "bdb cmd code getpass pdb readline rlcompleter termios tty",
        "there is no terminal, and standard input is empty",
        "assign the values in the code",
    ),
    RefusedModules.of(
        "ctypes cffi mmap fcntl resource pwd grp syslog platform sysconfig site faulthandler",
        "the operating system is out of reach",
        "compute in Python, within the limits of the snippet",
    ),
    RefusedModules.of(
        "importlib runpy pkgutil modulefinder zipimport imp",
        "modules are loaded by import statements only",
        "write `import NAME`",
    ),
    RefusedModules.of(
        "ensurepip venv pip setuptools pkg_resources zipapp",
        "nothing can be installed",
        "use the libraries that are here",
    ),
    RefusedModules.of(
        "compileall py_compile pyclbr pydoc pydoc_data tabnanny trace test lib2to3",
        "it works on program files, and a snippet has no files",
        "leave it out",
    ),
    RefusedModules.of(
        "msvcrt msilib nt winreg winsound ossaudiodev nis",
        "it belongs to another operating system",
        "leave it out",
    ),
    RefusedModules.of(
        "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr mailcap nntplib pipes smtpd sndhdr spwd "
        "sunau telnetlib uu xdrlib",
        "newer versions of Python have removed it",
        "use a module that is still there",
    ),
    _IMPLEMENTATION,
)
_BY_NAME = {name: entry for entry in REFUSED_MODULES for name in entry.names}


def find_refusal(module: str) -> RefusedModules | None:
    """Return the entry of the top-level `module`, or None if it has none. Private modules have one too."""
    return _BY_NAME.get(module) or (_IMPLEMENTATION if module.startswith("_") else None)
