#!/usr/bin/env python3
"""Outside checkers against a real `backscroll serve --http` that asks for tokens: `uv run scripts/security.py`.

Run here, each in a throw-away environment of its own (by uv, from PyPI), kept from every address but loopback and
told nothing of this machine's environment:

- authlab   mcp-authlab: tokens that are missing, malformed, unsigned or another's; the challenge and its metadata;
            Origin; versions. The server is given the keys of an issuer that is made for it.
- mcpcheck  jbt-mcpcheck: the 2026-07-28 revision over HTTP, and what it says to clients of the old era.
- harness   agent-security-harness: its MCP part, both eras and the differences between them, audience binding.
- jakk      injections, traversal and poisoning through each tool that takes what they need, and the token's checks.
- mcpsnare  the same hunt with callbacks as proof. It knows of no tokens, so it comes through a relay that adds one.
- fuzzer    mcp-fuzzer: malformed calls of each tool, and malformed messages of each kind, of both eras.
- openapi   schemathesis, on a description of the endpoint that is made here.
- ours      tests/test_security_fuzz.py with many more examples than the tests take (`--examples`).
- suite     scripts/conformance.py: MCP's own suite, with a token (fetches Node's packages).

What is a finding to a checker and none here stands in EXPECTED with its reason. After each, the server must still
serve and its log must tell of no failure inside.

Looked at and left out: mcp-idprobe (mixes up two clients' request ids, but sees it by a tool that echoes, and each
here refuses what it does not know, so that it passes without having looked; tests/test_security_scopes.py asks the
same), mcp-adversarial (stdio alone; five payloads that mcp-fuzzer has too), mcp-strike (its part without a model is one
traversal probe), reizan-mcpcheck (judges an authorization server), mcp-scan and snyk-agent-scan (send descriptions to
a service), cisco-ai-mcp-scanner (its judging needs keys). Scanners of source and of hosts' settings do not apply.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from real_server import Program, Served, serving, with_token

ROOT = Path(__file__).parents[1]
SECONDS = 900
"""What a checker may take."""

ISSUER, AUDIENCE = "https://issuer.example/", "https://memory.example/mcp"
SECRET = "the crown lies under the seventh willow"  # noqa: S105, what one user said

EXPECTED: Mapping[str, Mapping[str, str]] = {
    "authlab": {
        "ASM-01": "the issuer is the operator's; the one made up here publishes nothing",
        "TLS-01": "TLS is the proxy's",
        "CHAL-03": "which scopes a client needs is its user's choice; the metadata lists them",
    },
    "mcpcheck": {
        "schemas.output_schema_missing": "recall answers with text alone, and so promises no structure",
        "errors.verbose_error_message": "an unknown tool is answered with the names of those there are",
    },
    "mcpsnare": {
        "capability": "delete_session deletes, and says so in its annotations",
        "auth_bypass": "the relay adds a token for whoever comes without one",
        "privileged_proxy": "the same",
    },
    "harness": {
        "MCP-008": "two of its messages have no id, or none that counts, and what asks for no answer gets none (202)",
    },
    "fuzzer": {
        "accepted_malformed": "it counts every call that succeeds, such as one with an empty name for a filter",
        "injection_reflection": "an error names what was asked for, as JSON and never as HTML",
    },
}

GUARD = '''"""Keeps a checker on this machine."""
import ipaddress, os, sys

def _here(host):
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False

def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _here(host):
        with open(os.environ["GUARD_LOG"], "a") as log:
            log.write(f"{host}\\n")
        raise ConnectionRefusedError("kept on this machine")

sys.addaudithook(_watch)
'''


class Finding(NamedTuple):
    kind: str
    """The checker's own name for it, as in EXPECTED."""
    detail: str


class Target(NamedTuple):
    server: Served
    folder: Path
    ada: str
    """Tokens: of who has the sessions, and of somebody else."""
    bob: str
    jwt: str
    """JWTs: of Ada's, and one that is for another audience."""
    foreign: str

    def run(
        self, package: str, *command: str, more: Sequence[str] = (), **told: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a checker's command. `more`: further requirements; `told`: variables of its environment."""
        environment = self.folder / "checker"
        subprocess.run(["uv", "venv", "--quiet", "--allow-existing", str(environment)], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", str(environment), package, *more]
        subprocess.run(install, check=True)
        guard = self.folder / "guard"
        guard.mkdir(exist_ok=True)
        (guard / "sitecustomize.py").write_text(GUARD, "utf-8")
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        program, *arguments = command
        # Nothing of whoever runs this is told to it: no keys, no proxies by which it could get away.
        variables = {
            "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
            "HOME": str(self.folder),
            "PYTHONPATH": str(guard),
            "GUARD_LOG": str(self.folder / "guard.log"),
            "NO_COLOR": "1",
            **told,
        }
        return subprocess.run(
            [str(programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=variables,
            cwd=self.folder,
            timeout=SECONDS,
        )

    def kept(self) -> set[str]:
        """The addresses that checkers were kept from."""
        log = self.folder / "guard.log"
        return set(log.read_text("utf-8").split()) if log.exists() else set()


# The checkers: each yields what it found, and raises what it could not


def authlab(to: Target) -> Iterator[Finding]:
    options = ["--no-login", "--token", to.jwt, "--foreign-token", to.foreign, "--format", "json"]
    done = to.run("mcp-authlab==0.2.2", "mcp-authlab", "scan", to.server.url, *options)
    results = _json(done)["results"]
    if sum(result["status"] == "pass" for result in results) < 15:
        raise RuntimeError(f"too little was checked: {done.stdout[-2000:]}")
    for result in results:
        if result["status"] in ("fail", "warn"):
            yield Finding(result["id"], f"{result['title']}: {result['message']}")


def mcpcheck(to: Target) -> Iterator[Finding]:
    options = ["--token", to.ada, "--legacy-probes", "--strict", "--json"]
    done = to.run("jbt-mcpcheck==0.1.1", "jbt-mcpcheck", *options, to.server.url)
    for check in _json(done)["checks"]:
        for told in (*check["failures"], *check["warnings"]):
            yield Finding(told["code"], f"{told['subject']}: {told['message']}")
        if check["status"] not in ("pass", "warn", "fail"):
            yield Finding(check["name"], f"{check['status']}: {check['summary']}")


def harness(to: Target) -> Iterator[Finding]:
    for version in ("2026-07-28", "auto", None):
        report = to.folder / f"harness-{version}.json"
        options = ["--transport", "http", "--url", to.server.url, "--header", f"Authorization:Bearer {to.jwt}"]
        options += ["--audience-attacker-header", f"Authorization:Bearer {to.foreign}", "--report", str(report)]
        options += [] if version is None else ["--protocol-version", version]
        command = ["agent-security", "test", "mcp", "--no-telemetry", *options]
        done = to.run("agent-security-harness==4.28.1", *command)
        if not report.exists():
            raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])
        told = json.loads(report.read_text("utf-8"))
        if told["summary"]["passed"] < 15:
            raise RuntimeError(f"too little was checked: {told['summary']}")
        for result in told["results"]:
            if not result["passed"] and not result.get("not_evaluated"):
                yield Finding(result["test_id"], f"{result['name']} ({version}): {result['details']}")


def jakk(to: Target) -> Iterator[Finding]:
    told = to.folder / "jakk.jsonl"
    options = ["--endpoint", to.server.url, "--bearer", to.bob, "--canary-path", "/etc/passwd"]
    options += ["--arg", "session_id=ada-own", "--jsonl", str(told)]
    done = to.run("jakk==0.2.0", "jakk", "mcp", "scan", *options)
    results = [json.loads(line) for line in told.read_text("utf-8").splitlines()] if told.exists() else []
    if sum(result["outcome"] == "pass" for result in results) < 10:
        raise RuntimeError(f"too little was checked: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    for result in results:
        if result["outcome"] == "vulnerable":
            yield Finding(result["test_id"], f"{result['tool']}: {result['evidence']}")


def mcpsnare(to: Target) -> Iterator[Finding]:
    with with_token(to.server.url, to.bob) as url:
        options = ["--http", url, "--oob", "local", "--oob-timeout", "3", "--output", "json"]
        # The client of the SDK's first line, which it was written for.
        done = to.run("mcpsnare==0.5.0", "mcpsnare", "scan", *options, more=["mcp<2"])
    for found in _json(done)["findings"]:
        yield Finding(found["check"], f"{found['title']} ({found['confidence']}): {found['evidence']}")


def fuzzer(to: Target) -> Iterator[Finding]:
    for revision in ("2025-11-25", "2026-07-28"):
        out = to.folder / f"fuzzer-{revision}"
        options = ["--protocol", "streamablehttp", "--endpoint", to.server.url, "--auth-env", "--no-network"]
        options += ["--mode", "all", "--phase", "both", "--protocol-phase", "aggressive", "--runs", "20"]
        options += ["--runs-per-type", "10", "--seed", "42", "--no-corpus", "--spec-schema-version", revision]
        options += ["--security-audit", "--security-audit-intrusive", "--output-dir", str(out)]
        done = to.run("mcp-fuzzer==0.7.0", "mcp-fuzzer", *options, MCP_API_KEY=to.ada)
        findings = out / "findings.json"
        if "Total Fuzzing Runs" not in done.stdout or not findings.exists():
            raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])
        for kind in ("Crashes", "Exceptions", "Transport/Protocol Anomalies"):
            if not re.search(rf"Total {kind}: 0\b", done.stdout):
                yield Finding(kind, f"{revision}: {done.stdout[-2000:]}")
        told = json.loads(findings.read_text("utf-8"))
        for found in told if isinstance(told, list) else told["findings"]:
            yield Finding(found["category"], f"{revision}: {found['target']}: {found['detail']}")


def openapi(to: Target) -> Iterator[Finding]:
    described = to.folder / "openapi.json"
    described.write_text(json.dumps(_description()), "utf-8")
    # Not positive_data_acceptance: a request may fit the description and still be none that MCP takes.
    checks = "not_a_server_error,ignored_auth,status_code_conformance,content_type_conformance,unsupported_method"
    options = ["--url", to.server.base, "-H", f"Authorization: Bearer {to.bob}", "--checks", checks]
    options += ["--max-examples", "300", "--continue-on-failure", "--generation-deterministic"]
    done = to.run("schemathesis==4.32.5", "st", "run", str(described), *options)
    if done.returncode:
        yield Finding("schemathesis", done.stdout[-4000:] + done.stderr[-1000:])


CHECKERS: Mapping[str, Callable[[Target], Iterator[Finding]]] = {
    "authlab": authlab,
    "mcpcheck": mcpcheck,
    "harness": harness,
    "jakk": jakk,
    "mcpsnare": mcpsnare,
    "fuzzer": fuzzer,
    "openapi": openapi,
}


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    """What a checker printed, which may say something before."""
    start = done.stdout.find("{")
    if start < 0:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])
    return json.loads(done.stdout[start:])


def _description() -> dict[str, Any]:
    """The HTTP surface as OpenAPI tells it."""
    text = {"type": "string"}
    message = {
        "type": "object",
        "required": ["jsonrpc", "method", "id"],
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": ["integer", "string"]},
            "method": {"enum": ["tools/call", "tools/list", "resources/read", "prompts/get", "ping", "initialize"]},
            "params": {
                "type": "object",
                "properties": {"name": text, "uri": text, "arguments": {"type": "object"}, "cursor": text},
            },
        },
    }
    headers = {
        "accept": {"enum": ["application/json, text/event-stream", "application/json", "text/event-stream;q=0.9"]},
        "mcp-protocol-version": {"enum": ["2025-11-25", "2026-07-28"]},
        "mcp-method": text,
        "mcp-name": text,
    }
    kinds = {"application/json": {}, "text/event-stream": {}}
    answers = {
        "200": {"description": "answered", "content": kinds},
        "202": {"description": "a notification"},
        **{
            status: {"description": "refused", "content": {"application/json": {}, "application/problem+json": {}}}
            for status in ("400", "401", "403", "404", "405", "406", "408", "413", "415", "421", "429", "431", "503")
        },
    }
    bare = {"200": {"description": "it is there"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Backscroll", "version": "1"},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/mcp": {
                "post": {
                    "security": [{"token": []}],
                    "parameters": [
                        {"name": name, "in": "header", "schema": schema} for name, schema in headers.items()
                    ],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": message}}},
                    "responses": answers,
                }
            },
            "/healthz": {"get": {"responses": bare}},
            "/readyz": {"get": {"responses": bare}},
        },
    }


# The run


def targets(folder: Path) -> tuple[Program, rsa.RSAPrivateKey]:
    """The program with the keys of an issuer made for it."""
    key = rsa.generate_private_key(65537, 2048)
    published = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k1", "use": "sig"}
    published.pop("key_ops", None)
    (folder / "jwks.json").write_text(json.dumps({"keys": [published]}), "utf-8")
    program = Program(
        folder,
        JWT_ISSUER=ISSUER,
        JWT_AUDIENCE=AUDIENCE,
        JWKS=str(folder / "jwks.json"),
        JWT_ALGORITHMS="RS256",
        HTTP_RATE_PER_MINUTE="0",  # checkers ask hundreds of times within a second
    )
    return program, key


def signed(key: rsa.RSAPrivateKey, audience: str) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": audience, "sub": "ada", "scope": "read write delete", "iat": now, "exp": now + 3600}
    return jwt.encode(claims, key, "RS256", headers={"kid": "k1"})


def checked(name: str, folder: Path) -> bool:
    """Run a checker against a server of its own; say what it found, and whether all was well."""
    program, key = targets(folder)
    ada, bob = program.token("ada"), program.token("bob")
    complaints: list[str] = []
    expected: dict[str, int] = {}
    with serving(program) as server:
        for user, token, text in (("ada", ada, SECRET), ("bob", bob, "The kettle is in the hall.")):
            messages = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": text}]
            server.call("record_run", token, messages=messages, session_id=f"{user}-own")
        target = Target(server, folder, ada, bob, signed(key, AUDIENCE), signed(key, "https://other.example/mcp"))
        try:
            for finding in CHECKERS[name](target):
                if finding.kind in EXPECTED.get(name, {}):
                    expected[finding.kind] = expected.get(finding.kind, 0) + 1
                else:
                    complaints.append(f"{finding.kind}: {finding.detail}")
        except (RuntimeError, ValueError, KeyError, OSError, subprocess.SubprocessError) as error:
            complaints.append(f"it did not run: {type(error).__name__}: {error}")
        complaints += [f"the server: {complaint}" for complaint in server.complaints()]
        away = target.kept() - {"issuer.example"}
        complaints += [f"it wanted to reach {host}" for host in sorted(away)]
    print(f"{name:9} {'FAILED' if complaints else 'passed'}")
    for kind, times in sorted(expected.items()):
        print(f"    expected: {kind} ({times}): {EXPECTED[name][kind]}")
    for complaint in complaints:
        print(f"    {complaint}")
    return not complaints


def ours(examples: int) -> bool:
    environment = {**os.environ, "BACKSCROLL_FUZZ_EXAMPLES": str(examples), "HYPOTHESIS_PROFILE": "hunt"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/test_security_fuzz.py"]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(f"{'ours':9} {'FAILED' if done.returncode else 'passed'}  ({examples} examples each)")
    if done.returncode:
        print(done.stdout[-6000:])
    return not done.returncode


def suite() -> bool:
    command = [sys.executable, str(ROOT / "scripts" / "conformance.py")]
    well = True
    for revision in ("2025-11-25", "2026-07-28"):
        well &= not subprocess.run([*command, "--only", revision], check=False).returncode
    print(f"{'suite':9} {'passed' if well else 'FAILED'}")
    return well


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", choices=[*CHECKERS, "ours", "suite"], action="append", help="run this; repeatable")
    parser.add_argument("--examples", type=int, default=2000, help="of our own, for each of its tests")
    options = parser.parse_args()
    chosen = options.only or [*CHECKERS, "ours", "suite"]
    well = True
    for name in chosen:
        if name == "ours":
            well &= ours(options.examples)
        elif name == "suite":
            well &= suite()
        else:
            with tempfile.TemporaryDirectory() as folder:
                well &= checked(name, Path(folder))
        sys.stdout.flush()
    print("Nothing was found." if well else "Something was found.")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
