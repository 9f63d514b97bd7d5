"""What docs/opensearch.md has people say to a node themselves, said by curl as it stands there."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.support.indices import make, options_for
from tests.support.page_blocks import shell_blocks, typed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")]


async def test_the_settings_of_an_index_are_changed_by_curl(node: str, prefix: str, tmp_path: Path) -> None:
    blocks = [*shell_blocks("docs/opensearch.md", "Sizing"), *shell_blocks("docs/opensearch.md", "Health and disk")]
    await make(options_for(node, prefix))
    for block in blocks:
        assert "localhost:9200/nostr-events" in block
        ended = await typed(tmp_path, block.replace("localhost:9200/nostr-events", f"{node}/{prefix}-events"))
        assert (ended.returncode, msgspec.json.decode(ended.stdout)) == (0, {"acknowledged": True})
    assert len(blocks) == 2
