"""Questions of libraries about the host: each gets a value or an ordinary exception, and the session lives on."""

import pytest
from support.attacks import EXCEPTION, OK, PRELUDE

# Questions with a value, and the value: a type's name, or its text.
ANSWERED = {
    "home": ("os.path.expanduser('~')", "'/nonexistent'"),
    "home_of_another": ("os.path.expanduser('~root')", "'~root'"),
    "home_of_a_path": ("str(load('pathlib').Path.home())", "'/nonexistent'"),
    "user": ("load('getpass').getuser()", "'nobody'"),
    "users": ("load('pwd').getpwall()", "[]"),
    "groups": ("load('grp').getgrall()", "[]"),
    "site_of_the_user": ("'/nonexistent/' in load('site').getusersitepackages()", "True"),
    "locale": ("type(load('locale').getlocale()).__name__", "'tuple'"),
    "locale_conventions": ("load('locale').localeconv()['decimal_point']", "'.'"),
    "node": ("load('platform').node()", "'sandbox'"),
    "machine": ("load('platform').machine()", repr(__import__("platform").machine())),
    "platform": ("'sandbox' in repr(load('platform').uname()), load('platform').processor()", "(True, '')"),
    "network_card": ("type(load('uuid').getnode()).__name__", "'int'"),
    "uuid_of_the_machine": ("load('uuid').uuid1().version, load('uuid').uuid4().version", "(1, 4)"),
    "time_zone": ("t = load('time')\nt.tzset()\nt.tzname[0], t.timezone", "('UTC', 0)"),
    "local_time": ("import datetime\nstr(datetime.datetime.now().astimezone().tzinfo)", "'UTC'"),
    "browser": ("load('webbrowser').open('https://example.org')", "False"),
    "processors": ("type(os.cpu_count()).__name__", "'int'"),
    "terminal": ("tuple(load('shutil').get_terminal_size())", "(80, 24)"),
    "random_bytes": ("len(os.urandom(4)), load('secrets').randbelow(1)", "(4, 0)"),
    "readline": ("load('readline').__name__", "'readline'"),
    "proxies": ("load('urllib.request').getproxies()", "{}"),
    "system_log": ("load('syslog').syslog('attack')\n1", "1"),
    "printing": ("import sympy\nsympy.init_printing()\n1", "1"),
    "configuration": ("len(load('sysconfig').get_config_vars()) > 10", "True"),
    "log": ("load('logging').getLogger('x').error('seen')\n1", "1"),
}
# Questions without an answer: any ordinary exception.
UNANSWERED = {
    "user_by_id": "load('pwd').getpwuid(os.getuid())",
    "user_by_name": "load('pwd').getpwnam('root')",
    "group_by_id": "load('grp').getgrgid(0)",
    "login": "os.getlogin()",
    "password": "load('getpass').getpass()",
    "shell": "load('pwd').getpwuid(0).pw_shell",
    "locale_of_a_country": "l = load('locale')\nl.setlocale(l.LC_ALL, 'en_US.UTF-8')",
    "translation": "load('gettext').translation('x')",
    "host_name": "load('socket').gethostname()",
    "full_host_name": "load('socket').getfqdn()",
    "address_of_a_host": "load('socket').gethostbyname('localhost')",
    "addresses_of_a_host": "load('socket').getaddrinfo('example.org', 80)",
    "name_of_an_address": "load('socket').gethostbyaddr('127.0.0.1')",
    "port_of_a_service": "load('socket').getservbyname('http')",
    "address_by_the_c_library": "checked(libc.gethostbyname(b'example.org') or None)",
    "distribution": "load('platform').freedesktop_os_release()",
    "zone": "load('zoneinfo').ZoneInfo('Mars/Olympus')",
    "temporary_folder": "load('tempfile').mkdtemp()",
    "load": "os.getloadavg()",
    "memory": "os.sysconf('SC_PHYS_PAGES')",
    "free_memory": "os.sysconf(os.sysconf_names['SC_AVPHYS_PAGES'])",
    "disk": "load('shutil').disk_usage('/')",
    "input": "input('n = ')",
    "input_read": "sys.stdin.read()",
    "input_bytes": "sys.stdin.buffer.readline()",
    "input_lines": "[line for line in sys.stdin]",
    "debugger": "load('pdb').set_trace()\n1",
    "program": "load('subprocess').run(['ls'])",
    "pipe": "os.popen('ls').read()",
    "thread": "load('threading').Thread(target=print).start()",
    "pool_of_threads": "load('concurrent.futures').ThreadPoolExecutor().submit(print).result()",
    "pool_of_processes": "load('multiprocessing').Pool(2)",
    "event_loop": "a = load('asyncio')\na.run(a.sleep(0))",
    "signal_handler": "s = load('signal')\ns.signal(s.SIGALRM, print)",
    "screen": "load('curses').initscr()",
    "database": "load('sqlite3').connect('x.db')",
    "password_file": "load('netrc').netrc()",
    "fourier_by_threads": "import numpy, scipy.fft\nscipy.fft.fft(numpy.ones((64, 64)), workers=2)",
    "minimum_by_processes": "import scipy.optimize as o\no.brute(lambda x: x**2, [(-1, 1)], workers=2)",
    "picture": "import sympy\nsympy.preview(sympy.Symbol('x'))",
    "compiler": "import sympy\nfrom sympy.utilities.autowrap import autowrap\nautowrap(sympy.Symbol('x'))",
    "console": "import sympy\nsympy.init_session()",
    "array_on_disk": "import numpy\nnumpy.save('x', [1])",
    "remote_data": "load('numpy.lib.npyio').DataSource().open('http://example.org/x')",
}
# Whether these succeed depends on what is installed beside the libraries.
EITHER = {
    "plot_by_mpmath": "import mpmath\nmpmath.plot(mpmath.sin, [0, 1])",
    "plot_by_sympy": "import sympy\nsympy.plot(sympy.Symbol('x'))",
    "plot_of_a_surface": "import sympy\nx, y = sympy.symbols('x y')\nsympy.plotting.plot3d(x * y)",
    "plot_by_networkx": "import networkx\nnetworkx.draw(networkx.path_graph(3))",
    "plot_by_matplotlib": "load('matplotlib.pyplot').plot([1])",
    "window": "load('tkinter').Tk()",
    "library_by_name": "load('ctypes.util').find_library('m')",
    "mail_types": "load('mimetypes').guess_type('x.png')",
    "shadow": "load('spwd').getspnam('root')",
    "encrypted_password": "load('crypt').crypt('x')",
}


async def ask(executor, question: str):
    """Return the result of `question`, asked in a session whose variables must survive."""
    async with executor.session() as session:
        await session.run("keepsake = 41")
        result = await session.run(PRELUDE + question)
        assert not result.state_lost, result
        assert (await session.run("keepsake")).value == "41"
        return result


@pytest.mark.parametrize("name", ANSWERED)
async def test_question_has_a_harmless_answer(executor, name):
    question, answer = ANSWERED[name]
    result = await ask(executor, question)
    assert (result.outcome, result.value) == (OK, answer), result


@pytest.mark.parametrize("name", UNANSWERED)
async def test_question_without_an_answer_raises_an_exception(executor, name):
    result = await ask(executor, UNANSWERED[name])
    assert result.outcome == EXCEPTION, result


@pytest.mark.parametrize("name", EITHER)
async def test_question_never_costs_the_variables(executor, name):
    result = await ask(executor, EITHER[name])
    assert result.outcome in (OK, EXCEPTION), result


@pytest.mark.parametrize("code", ["input('n = ')", "import sys\nsys.stdin.readline()", "import sys\nsys.stdin.read()"])
async def test_read_of_the_empty_input_says_what_to_do(executor, code):
    result = await executor.execute(code)
    assert (result.exception.type, result.exception.message) == (
        "EOFError",
        "standard input is empty; assign the values in the code",
    )
