"""Check of a request's JSON text for what would fail later: nesting, and lone surrogates."""

import json
import re

from deepmath.errors import InvalidRequest

_MAX_NESTING = 100
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*\\?(?:"|\Z)', re.DOTALL)  # an unterminated one too: linear time
_BRACKET = re.compile(rb"[][{}]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def check_json_text(text: bytes) -> None:
    """Check the nesting and the strings of a JSON text; whether it is valid JSON at all is left to its parser.

    Raises:
        InvalidRequest: It nests deeper than 100 levels, is not UTF-8, or has a string that is not valid Unicode.
    """
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", text)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > _MAX_NESTING:
            raise InvalidRequest(f"the body nests deeper than {_MAX_NESTING} levels")
    try:
        text.decode()
        if _SURROGATE.search(text):
            json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("the body has a string with a lone surrogate, which is not valid Unicode") from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    except ValueError:
        pass  # not JSON: the parser says where
