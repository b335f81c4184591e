"""What stands in the page of a bundle, and the digests that allow it."""

from __future__ import annotations

import base64
import hashlib
import re

from curate.view.inlined import inline_parts


def test_each_part_is_allowed_by_its_digest() -> None:
    parts = inline_parts()
    digests = [
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (*parts.scripts, parts.style)
    ]
    assert re.findall(r"'sha256-([^']+)'", parts.policy) == digests


def test_modules_are_one_and_import_nothing() -> None:
    for script in inline_parts().scripts:
        assert not re.search(r"^(import|export) ", script, re.MULTILINE)
        assert "</script" not in script
    assert "class Plane {" in inline_parts().scripts[1]
