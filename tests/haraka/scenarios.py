"""What is sent to every Haraka of these tests, by name; the sink's script stands in each recipient's address."""

from typing import Final

from haraka.demo.messages import CLOSED_DOMAIN, SENDER_DOMAIN, Message

#: Deliveries to it leave from BOUND_IP.
BOUND_DOMAIN: Final = "bound.test"
BOUND_IP: Final = "127.0.0.3"
HEADER: Final = "X-Campaign"

_RCPTS: Final = {
    "one-accepted": ("accept.1@blue.test",),
    "five-of-one-domain": tuple(f"accept.{n}@blue.test" for n in range(1, 6)),
    "several-domains": ("accept.1@blue.test", "accept.2@green.test", "accept.3@blue.test", "accept.4@amber.test"),
    "another-local-address": (f"accept.1@{BOUND_DOMAIN}", f"reject.1@{BOUND_DOMAIN}", f"defer-1.1@{BOUND_DOMAIN}"),
    "5xx-at-rcpt": ("reject.1@blue.test",),
    "5xx-at-rcpt-for-all": ("reject.1@blue.test", "reject.2@blue.test"),
    "5xx-in-lines-with-an-odd-code": ("reject-long.1@blue.test",),
    "4xx-until-bounce": ("defer.1@blue.test",),
    "4xx-then-accepted": ("defer-2.1@blue.test",),
    "4xx-at-the-dot": ("defer-dot-1.1@blue.test", "accept.1@blue.test"),
    "mixed": ("accept.1@blue.test", "defer-1.1@blue.test", "defer.1@blue.test", "reject.1@blue.test"),
    "mixed-over-domains": ("accept.1@blue.test", "defer-1.1@green.test", "reject.1@amber.test", "accept.2@amber.test"),
    "5xx-at-data": ("reject-data.1@blue.test",),
    "5xx-at-the-dot": ("reject-dot.1@blue.test", "accept.1@blue.test"),
    "connection-refused": (f"accept.1@{CLOSED_DOMAIN}", f"accept.2@{CLOSED_DOMAIN}"),
    "connection-dropped": ("drop-1.1@blue.test",),
    "garbage-at-rcpt": ("garbage.1@blue.test",),
    "garbage-at-the-dot": ("garbage-dot.1@blue.test", "accept.1@blue.test"),
    "header": ("accept.1@blue.test", "defer-1.1@blue.test", "reject.1@green.test"),
    "double-bounce": ("reject.1@blue.test",),
}
#: Who sends it, where it is not the scenario's name: this one's mailbox refuses the bounce message.
_ORIGS: Final = {"double-bounce": f"reject.double@{SENDER_DOMAIN}"}

#: The header as it is sent, and as a column must show it: unfolded, each TAB a space.
FOLDED: Final = f"{HEADER}: spring\tsale\r\n\t2026,\r\n  all  shops"
UNFOLDED: Final = "spring sale 2026,  all  shops"

MESSAGES: Final = {
    name: Message(
        orig=_ORIGS.get(name, f"{name}@{SENDER_DOMAIN}"),
        rcpts=rcpts,
        helo=f"{name}.{SENDER_DOMAIN}",
        headers=(FOLDED,) if name == "header" else (),
    )
    for name, rcpts in _RCPTS.items()
}
