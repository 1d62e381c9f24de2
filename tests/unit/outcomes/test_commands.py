"""Which shell commands are checks, and when their result is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.ingest.shell_output import read_shell_output
from kaizen_analytics.outcomes.commands import read_command, read_rules, split_command

KINDS = {
    "pytest -q tests": "test",
    ".venv/bin/python -m pytest": "test",
    "python3.11 -m unittest": "test",
    "go test ./...": "test",
    "go -C app test -run 'A|B'": "test",
    "cargo +nightly test": "test",
    "FOO=1 timeout 30 npm run test:unit": "test",
    "pnpm --filter web test": "test",
    "pnpm -r test": "test",
    "uv run --frozen pytest": "test",
    "npx vitest run": "test",
    "mise run test:integration 2>&1 | tail -5": "test",
    "make -j4 test": "test",
    "bash -lc 'cd app && make test'": "test",
    "cd a; ./gradlew :app:test --info": "test",
    "./gradlew test": "test",
    "go build ./... && go vet ./...": "build",
    "npm run build": "build",
    "bun run api:check": "lint",
    "cargo check": "types",
    "npx tsc --noEmit": "types",
    "mypy .": "types",
    "ruff check .": "lint",
    "ruff format .": None,
    "golangci-lint run": "lint",
    "npm run lint && npm test": "test",
    "env -u FOO pytest": "test",
    "timeout -s KILL 1d pytest": "test",
    "uv --directory a run --group dev python -X dev -m pytest": "test",
    "poetry -C a run pytest": "test",
    "coverage run --source=a -m pytest": "test",
    "uvx ruff@0.6 check .": "lint",
    "npx -y vitest@latest run": "test",
    "docker compose exec -T app pytest": "test",
    "docker run --rm image pytest": "test",
    "git ls-files | xargs -n 5 flake8": "lint",
    "./mvnw -pl a -am clean verify": "test",
    "make VERBOSE=1 lint test": "test",
    "if pytest; then echo ok; fi": "test",
    "{ pytest; } && echo ok": "test",
    "for i in 1 2; do pytest; done": "test",
    r"& .venv\Scripts\python.exe -m pytest": "test",
    r".\gradlew.bat test": "test",
    "$env:A='b'; py -3 -m pytest": "test",
    'powershell -NoProfile -Command "cd a; pytest"': "test",
    "cmd.exe /c npm.cmd test": "test",
    "npm ci": None,
    "pytest --version": None,
    "pytest --collect-only -q": None,
    "make -n test": None,
    "command -v pytest": None,
    "docker run image": None,
    "cat test.py": None,
    "rg 'go test' docs": None,
    "git commit -m 'make test pass'": None,
    "echo pytest": None,
    "cat > t.sh <<'EOF'\npytest\nEOF": None,
    "npm install": None,
    "test -f a.txt": None,
    "git diff --check": None,
    "ls # pytest": None,
}


@pytest.mark.parametrize(("command", "kind"), KINDS.items())
def test_checks_are_recognised(command: str, kind: str | None) -> None:
    assert read_command(command, failed=False, says=None).check == kind


@pytest.mark.parametrize(
    ("command", "failed", "says", "passed"),
    [
        ("pytest", False, None, True),
        ("pytest", True, None, False),
        ("pytest", None, None, None),
        ("pytest", None, "passed", True),
        ("cd app && pytest 2>&1", True, None, False),
        ("npm run lint && npm test", True, None, False),
        ("git pull && pytest", True, None, None),
        ("pytest; git status", False, None, None),
        ("pytest || true", False, None, None),
        ("pytest || exit 1", False, None, True),
        ("pytest -q || exit $?\npwd", True, None, False),
        ("pytest && pwd || return 2", False, None, True),
        ("pytest || { echo 'no'; exit 1; }; pwd", False, None, True),
        ("pytest || (echo 'no' && exit 1)", True, None, False),
        ("pytest || { echo 'a ; exit 1'; }", False, None, None),
        ("pytest || exit 0", False, None, None),
        ("(pytest || exit 1) || true", False, None, None),
        ("bash -c 'pytest || exit 1' || true", False, None, None),
        ("pytest && git push", False, None, True),
        ("pytest | tail -3", False, None, None),
        ("pytest | tail -3", False, "failed", False),
        ("pytest | tail -3", False, "passed", True),
        ("pytest | grep ok", False, "passed", None),
        ("pytest | grep ok", False, "failed", False),
        ("pytest && mypy", False, None, True),
        ("ls", False, None, None),
        ("pytest &", False, None, None),
        ("cd a && pytest > log 2>&1 &", False, None, None),
        ("pytest &> log", False, None, True),
        ("! pytest", False, None, None),
        ("if pytest; then echo ok; fi", False, "failed", False),
        ("(cd a && pytest) && (cd b && npm test)", False, None, True),
        ("(cd a && pytest) | grep ok", False, "passed", None),
        ("{ pytest; } || true", False, None, None),
        ("bash -c 'pytest' && echo ok", False, None, True),
        ("bash -c 'pytest' || true", False, None, None),
        ("bash -c 'pytest' | grep ok", False, "passed", None),
        ("false || bash -c pytest", False, None, None),
        ("set -o pipefail; pytest | tail -3", False, None, True),
        ("set -o pipefail; pytest | tail -3", True, None, None),
        ("set -o pipefail; pytest | tail -3 || true", False, None, None),
        ("set -e; pytest; git status", False, None, True),
        ("set -e; pytest; git status", True, None, None),
        ("pytest | Select-String ok", False, "passed", None),
        ("echo $(pytest)", False, None, None),
        ("export OUT=$(pytest)", False, None, None),
        ("OUT=$(pytest) && echo ok", False, None, True),
    ],
)
def test_the_result_is_known_where_the_status_is_that_of_the_check(
    command: str,
    failed: bool | None,  # noqa: FBT001
    says: str | None,
    passed: bool | None,  # noqa: FBT001
) -> None:
    assert read_command(command, failed=failed, says=says).passed is passed


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("= 3 failed, 7 passed in 0.2s =", "failed"),
        ("10 passed in 0.2s", "passed"),
        ("--- FAIL: TestX (0.00s)\nFAIL", "failed"),
        ("ok  \texample.org/a\t0.2s\nok  \texample.org/b\t(cached)", "passed"),
        ("test result: ok. 3 passed; 0 failed; 0 ignored", "passed"),
        ("test result: FAILED. 3 passed; 1 failed", "failed"),
        ("Tests:       1 failed, 4 passed, 5 total", "failed"),
        ("src/a.ts(3,1): error TS2322: Type", "failed"),
        ("Found 2 errors.", "failed"),
        ("Success: no issues found in 3 source files", "passed"),
        ("0 issues.", "passed"),
        ("Ran 3 tests in 0.1s\n\nOK", "passed"),
        ("\x1b[31m\x1b[1m1 failed\x1b[0m, \x1b[32m3 passed\x1b[0m in 0.1s", "failed"),
        ("\x1b[32m\x1b[1m3 passed\x1b[0m\x1b[32m in 0.1s\x1b[0m", "passed"),
        ("3 examples, 0 failures", "passed"),
        ("3 runs, 3 assertions, 0 failures, 1 errors", "failed"),
        ("Tests: 3, Assertions: 3, Failures: 1.", "failed"),
        ("Passed!  - Failed:     0, Passed:     3, Skipped:     0", "passed"),
        ("Failed!  - Failed:     1, Passed:     2", "failed"),
        ("Tests run: 3, Failures: 0, Errors: 2", "failed"),
        ("# tests 3\n# pass 2\n# fail 1", "failed"),
        ("\u2139 pass 3\n\u2139 fail 0", "passed"),
        ("67% tests passed, 1 tests failed out of 3", "failed"),
        ("100% tests passed, 0 tests failed out of 12", "passed"),
        ("The following tests FAILED:\n\t 3 - a (Failed)", "failed"),
        ("npm ERR! Test failed.  See above for more details.", "failed"),
        ("npm error Lifecycle script `test` failed with error:", "failed"),
        ("Tests run: 3, Failures: 0, Errors: 0, Skipped: 1", "passed"),
        ("Tests run: 0, Failures: 0, Errors: 0", None),
        ("make[1]: *** [Makefile:3: test] Error 1", "failed"),
        ("no tests ran in 0.01s", None),
        ("README.md", None),
        ("", None),
    ],
)
def test_an_output_says_how_its_check_went(output: str, says: str | None) -> None:
    assert read_shell_output(output).get("says") == says


def test_commits_and_pull_requests_are_read_from_the_output() -> None:
    output = "[main (root-commit) 1a2b3c4] One\n 1 file changed\n[topic 89abcde] Two\nhttps://example.org/a/b/pull/12\n"
    assert read_shell_output(output) == {
        "commits": ["1a2b3c4", "89abcde"],
        "pull_request": "https://example.org/a/b/pull/12",
    }
    assert read_command("git -C app commit -m x", failed=False, says=None).commits
    assert read_command("gh pr create --fill", failed=False, says=None).opens_pull_request


@given(st.text(alphabet="ab '\"\\$`&|;<>()\n#-=EOF", max_size=60))
def test_any_text_can_be_split(text: str) -> None:
    assert all(part.words for part in split_command(text))


def test_no_rule_stands_twice() -> None:
    tools = [tool for kind in read_rules().tools.values() for these in kind.values() for tool in these]
    assert len(tools) == len(set(tools))
