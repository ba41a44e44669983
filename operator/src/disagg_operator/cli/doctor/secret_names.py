"""Which names of settings, variables and flags speak of secrets, and which only refer to one. Pure.

Invariant: rather too many than too few, for what is missed leaves the cluster; but what is only the name of a
Secret, or a number of tokens, is none.
"""

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache

_ENDINGS = (
    *("token", "password", "passwords", "passwd", "passphrase", "passphrases", "secret", "secrets"),
    *("credential", "credentials", "authorization", "cookie", "cookies", "stringdata"),
    *("apitokens", "authtokens", "accesstokens"),
)
"""Of a word, which people write together: PGPASSWORD, authtoken."""
_WORDS = ("jwt", "jwts", "pat", "pats", "pwd")
_LAST_WORDS = ("auth", "pass", "sig", "signature")
OPENING = (
    *("access", "account", "api", "auth", "client", "deploy", "encryption", "hmac", "license", "master"),
    *("private", "request", "secret", "session", "signing", "ssh"),
)
"""Before the word key: such a key opens something."""
_TOKENS_OF = ("access", "api", "auth", "bearer", "hf", "refresh", "secret", "session")
"""Before the word tokens, which else are numbers of tokens."""
_OF_LANGUAGE = ("bos", "eos", "first", "last", "output", "pad", "per", "prompt", "unk")
"""Right before the word token at the end, which then is one of a language model's."""
_REFERENCES = ("name", "ref", "refs", "namespace", "kind", "type", "class")
"""Last words of settings that name a secret and hold none."""
_REFERENCE_KEYS = frozenset(
    {
        *("name", "secretName", "namespace", "kind", "apiGroup", "apiVersion", "optional", "items", "path"),
        *("key", "mode", "defaultMode", "audience", "expirationSeconds"),
    }
)
"""Of what in Kubernetes only refers to a Secret."""
_NAMING = {"name", "secretName", "path"}
_NO_SECRETS = ("PWD", "OLDPWD", "--initial-cluster-token", "ETCD_INITIAL_CLUSTER_TOKEN")
"""A shell's working directory, and what keeps clusters of etcd apart: everybody may know it."""
_LONGEST = 200
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLURAL = re.compile(r"(?<=[A-Z])s\b")


def looks_secret(name: str) -> bool:
    """Tell whether a setting of this name holds a secret, and not only the name of one."""
    return _looks_secret(name[-_LONGEST:])


def speaks_of_secrets(name: str) -> bool:
    """Tell whether a name has to do with secrets, be it with the name of one."""
    return _speaks_of_secrets(name[-_LONGEST:])


def refers_only(keys: Iterable[str]) -> bool:
    """Tell whether a mapping with these keys refers to a Secret and holds none."""
    found = set(keys)
    is_item = "key" not in found or "path" in found
    return found <= _REFERENCE_KEYS and not found.isdisjoint(_NAMING) and is_item


@lru_cache(maxsize=8192)
def _looks_secret(name: str) -> bool:
    return _speaks_of_secrets(name) and _words(name)[-1] not in _REFERENCES


@lru_cache(maxsize=8192)
def _speaks_of_secrets(name: str) -> bool:
    if name in _NO_SECRETS:
        return False
    words = _words(name)
    if len(words) > 1 and words[-1] == "token" and words[-2] in _OF_LANGUAGE:
        words = words[:-1]
    return (
        any(word.endswith(_ENDINGS) or word in _WORDS or _opens(word) for word in words)
        or any(
            (second in ("key", "keys") and first in OPENING) or (second == "tokens" and first in _TOKENS_OF)
            for first, second in itertools.pairwise(words)
        )
        or (bool(words) and words[-1] in _LAST_WORDS)
    )


def _opens(word: str) -> bool:
    """Tell whether a word is such as apikey."""
    return word.endswith(tuple(f"{each}key{plural}" for each in OPENING for plural in ("", "s")))


def _words(name: str) -> list[str]:
    # As in API_KEYs and apiKEYs.
    return [word.lower() for word in _WORD.findall(_PLURAL.sub("S", name))]
