"""The file of signed commands: written whole for its owner alone, read strictly with all that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_verify import sign_command
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey, decode64, encode64
from cloud_endpoint.cli.command import file
from cloud_endpoint.cli.problems import BadInput

KEY = SoftwareKey.generate("Ed25519")


def signed(letter: str, **changes: Any) -> SignedCommand:
    fields = {"id": letter * 32, "verb": Verb.REJOIN, "site": "store-1", "node": f"n-{letter * 16}", "sequence": 1}
    return sign_command(Command(**{**fields, "challenge": "c", "issued": 0, "expires": 60, **changes}), [KEY])


def test_what_is_written_is_read_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    file.write(path, [signed("a"), signed("b")])
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.node[2] for one, _ in file.read(path)] == ["a", "b"]
    before = path.read_bytes()
    with pytest.raises(Rejected, match="exists already"):
        file.write(path, [signed("c")])
    assert path.read_bytes() == before
    file.write(path, [signed("c")], replace=True)
    assert [one.node[2] for one, _ in file.read(path)] == ["c"]
    assert [one.name for one in tmp_path.iterdir()] == ["out.json"]


def test_where_no_file_can_go(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert "exists already" in file.check_new(tmp_path / "link")
    assert "folder does not exist" in file.check_new(tmp_path / "none" / "out")
    assert not file.check_new(tmp_path / "out")
    with pytest.raises(Rejected, match="cannot be written: No such file or directory"):
        file.write(tmp_path / "none" / "out", [signed("a")])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no file of `galley command sign`"),
        (b"\xff", "is no file of"),
        (b"[]", "is no file of"),
        (b'{"v": 2, "kind": "galley-signed-commands", "commands": []}', r"`\$.v`"),
        (b'{"kind": "something-else", "commands": []}', r"`\$.kind`"),
        (b'{"v": 1}', "required field `kind`"),
        (b'{"kind": "galley-signed-commands", "commands": []}', r"`\$.commands`"),
        (b" " * (file.MAX_FILE + 1), "it is too long"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(content)
    with pytest.raises(Rejected, match=said):
        file.read(path)


def test_all_that_is_wrong_with_its_commands_is_said(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    file.write(path, [signed("a"), signed("b"), signed("c", targets=["var"]), signed("a"), signed("d")])
    document = json.loads(path.read_text())
    unknown = json.loads(decode64(document["commands"][1]["payload"])) | {"verb": "format"}
    document["commands"][1]["payload"] = encode64(json.dumps(unknown).encode())
    document["commands"][4]["signatures"][0]["protected"] = encode64(b'{"crit": ["x"]}')
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput) as refused:
        file.read(path)
    assert [one.removeprefix(f"{path}: ").split(":")[0] for one in refused.value.problems] == [
        "command 2",
        "command 3",
        "command 5",
        "holds two commands to one node",
    ]
