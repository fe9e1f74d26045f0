"""TLS to Redis: whether the files that its URL names can be used, and what is left unchecked. Connects nowhere."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from config.files import read_file
from config.redis_url import options_of

_MOST_BYTES = 10_000_000  # a bundle of all authorities has a tenth of it
_OFF = ("false", "no", "0")


def trouble(url: str) -> str | None:
    """Return why the certificates that a URL names cannot be used, None where they can."""
    options = options_of(url)
    files = [options[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if name in options]
    for file in files:
        try:
            read_file(Path(file), _MOST_BYTES)
        except ValueError as error:
            return f"{file}: {error}"
    path = options.get("ssl_ca_path")
    if path is not None and not Path(path).is_dir():
        return f"{path}: expected a directory of certificates"
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=path)
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password="")  # never asks
    except (ssl.SSLError, OSError, ValueError) as error:
        return f"{', '.join(files)}: expected certificates in PEM and a key without a passphrase: {error}"
    return None


def unchecked(url: str) -> Iterator[str]:
    """Yield what a URL leaves unchecked, so that somebody in between can read and change everything."""
    options = options_of(url)
    if options.get("ssl_cert_reqs", "").lower() == "none":
        yield "ssl_cert_reqs=none: the server's certificate is not checked, so anybody can be the server"
    elif options.get("ssl_check_hostname", "").lower() in _OFF:
        yield "ssl_check_hostname is off: any server with a certificate of that authority is taken for this one"
