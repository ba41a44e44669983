"""Tables of arguments, and the program that reads them from sources."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from disagg_operator.platforms.flags import Argument, ArgumentTable, argument_table

ROOT = Path(__file__).resolve().parents[3]
TABLE = ArgumentTable.model_validate(
    {
        "versions": ["1.9", "1.10", "2.0"],
        "arguments": {
            "always": {},
            "new": {"from": "1.10"},
            "gone": {"to": "1.10", "switch": True},
            "odd": {"not": ["1.10"]},
        },
    }
)
VLLM_ARGUMENTS = """
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        group = parser.add_argument_group(title="Model")
        group.add_argument("--model", **model_kwargs["model"])
        group.add_argument("--tensor-parallel-size", "-tp", **kwargs)
        group.add_argument("--disable-log-stats", action="store_true", help="--not-a-flag in words")
"""
DYNAMO_ARGUMENTS = """
class DynamoVllmArgGroup(ArgGroup):
    def add_arguments(self, parser):
        add_argument(g, flag_name="--disaggregation-mode", env_var="DYN_VLLM_DISAGGREGATION_MODE")
        add_negatable_bool_argument(g, flag_name="--headless", env_var="DYN_VLLM_HEADLESS")
"""
SGLANG_FIELDS = """
class ServerArgs:
    host: A[str, "The host."] = "127.0.0.1"
    trust_remote_code: A[bool, "Whether."] = False
    tp_size: A[int, Arg(help="Size.", aliases=["--tensor-parallel-size"])] = 1
    hidden: A[int, Arg(help="None.", no_cli=True)] = 1
    plain: int = 0
"""


def test_a_version_knows_what_was_there_then() -> None:
    assert TABLE.of("1.9") == {"always", "gone", "odd"}
    assert TABLE.of("1.10") == {"always", "new", "gone"}
    assert TABLE.of("2.0") == {"always", "new", "odd"}
    assert TABLE.versions_with("odd") == ("1.9", "2.0")
    assert TABLE.versions_with("never") == ()
    assert TABLE.is_switch("gone")
    assert not TABLE.is_switch("always")
    assert not TABLE.knows("3.0")


@pytest.mark.parametrize("engine", ["vllm", "sglang", "mocker"])
def test_tables_name_only_versions_that_they_have(engine: str) -> None:
    table = argument_table(engine)
    for argument in table.arguments.values():
        named = {argument.first, argument.last, *argument.absent} - {None}
        assert named <= set(table.versions)


def made(engine: str, *versions: str) -> ArgumentTable:
    command = [sys.executable, str(ROOT / "hack/engine-arguments"), engine, *versions]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return ArgumentTable.model_validate(yaml.safe_load(run.stdout))


def test_arguments_are_read_from_the_sources_of_vllm_and_of_dynamo(tmp_path: Path) -> None:
    for version, text in (("0.1", VLLM_ARGUMENTS.replace("--model", "--weights")), ("0.2", VLLM_ARGUMENTS)):
        for file, source in (
            ("vllm/engine/arg_utils.py", text),
            ("dynamo/vllm/backend_args.py", DYNAMO_ARGUMENTS),
        ):
            path = tmp_path / version / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
    table = made("vllm", f"0.1={tmp_path}/0.1", f"0.2={tmp_path}/0.2")
    assert table.arguments == {
        "disable-log-stats": Argument(switch=True),
        "disaggregation-mode": Argument(),
        "headless": Argument(),
        "model": Argument.model_validate({"from": "0.2"}),
        "tensor-parallel-size": Argument(),
        "weights": Argument.model_validate({"to": "0.1"}),
    }


def test_arguments_are_read_from_the_fields_of_sglang(tmp_path: Path) -> None:
    path = tmp_path / "sglang/srt/server_args.py"
    path.parent.mkdir(parents=True)
    path.write_text(SGLANG_FIELDS)
    assert made("sglang", f"0.5={tmp_path}").arguments == {
        "host": Argument(),
        "tensor-parallel-size": Argument(),
        "tp-size": Argument(),
        "trust-remote-code": Argument(switch=True),
    }


def test_variables_are_read_from_the_sources_and_the_library_of_dynamo(tmp_path: Path) -> None:
    for version, source, library in (
        ("0.1", "os.environ.get('DYN_HTTP_PORT')  # DYN_COMMENT", b"\0DYN_ONEDYN_TWO_PARTSInvalid \0"),
        ("0.2", "ask(env_var='DYN_HTTP_PORT')", b"DYN_SYSTEM_system_portDYN_TWO_PARTS\0"),
        ("0.3", "raise Error('DYN_ONE is gone')", b"DYN_SYSTEM_,DYN_NEVER_APARTx inflight_requests"),
    ):
        folder = tmp_path / version / "dynamo"
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(source)
        (folder / "_core.abi3.so").write_bytes(library)
    assert made("variables", *(f"{each}={tmp_path}/{each}" for each in ("0.1", "0.2", "0.3"))).arguments == {
        "DYN_HTTP_PORT": Argument.model_validate({"to": "0.2"}),
        "DYN_ONE": Argument.model_validate({"to": "0.1"}),
        "DYN_SYSTEM_PORT": Argument.model_validate({"from": "0.2", "to": "0.2"}),
        "DYN_TWO_PARTS": Argument.model_validate({"to": "0.2"}),
        "inflight_requests": Argument.model_validate({"from": "0.3"}),
    }
