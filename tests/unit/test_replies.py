"""The router's own answers: every one says what to do, and survives HAProxy's quoting."""

from __future__ import annotations

import json
import re

import pytest

from outhaul.router import replies
from outhaul.router.replies import Reply

ALL = [value for value in vars(replies).values() if isinstance(value, Reply)]


@pytest.mark.parametrize("reply", ALL, ids=lambda reply: f"{reply.status}-{reply.code[:20]}")
def test_a_body_is_json_with_code_message_and_remedy(reply: Reply):
    body = json.loads(re.sub(r"%\[[^\]]*\]", "x", reply.body()))
    assert set(body) == {"code", "message", "remedy", "requestId"}
    assert all(body.values())


@pytest.mark.parametrize("reply", ALL, ids=lambda reply: f"{reply.status}-{reply.code[:20]}")
def test_a_single_quote_does_not_end_the_configurations_string(reply: Reply):
    _, _, quoted = reply.arguments().partition("lf-string ")
    body = quoted.partition(" hdr ")[0]
    assert body.replace("'\\''", "").count("'") == 2
