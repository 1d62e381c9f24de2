"""Posts one Markdown file as a comment of a pull request, or updates the comment of a former run; see action.yml.

Standard library only. The file's text is never printed to the log, where a line could be a command to the runner.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

LONGEST = 60_000
"""Characters of a comment; GitHub takes 65,536."""
PAGE = 100

_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
_LIVE = re.compile(r"@(?=\w)|!(?=\[)|<(?!br>)")
"""Outside code: a mention, an image, HTML."""


class PostError(Exception):
    """What the log says instead of a traceback."""


def clean(text: str) -> str:
    r"""Return Markdown that notifies nobody, loads nothing, hides nothing, and is short enough.

    >>> clean("ask @octocat, not `@octocat` \x1b[31mred\x1b[0m <!-- hidden -->")
    'ask &#64;octocat, not `@octocat` red &#60;!-- hidden -->'
    """
    parts = _CODE.split(_CONTROL.sub("", text))
    parts[::2] = [_LIVE.sub(lambda found: f"&#{ord(found[0])};", part) for part in parts[::2]]
    cleaned = "".join(parts)
    return cleaned if len(cleaned) <= LONGEST else f"{cleaned[:LONGEST]}\n\nShortened: the whole result is in the file."


def make_marker(name: str) -> str:
    """Return the first line of a comment, by which the next run finds it."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,49}", name):
        raise PostError("The name of the comment has to be letters, digits, '.', '-' or '_', at most 50.")
    return f"<!-- kaizen-analytics: {name} -->"


def read_result(file: Path) -> str:
    """Return the text of the file; what redaction would still find in it must not be posted."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PostError(f"The file cannot be read as UTF-8 text ({type(error).__name__}).") from None
    program = shutil.which("kaizen-analytics")
    if program is not None:
        ran = subprocess.run(  # noqa: S603 - a fixed command
            [program, "redact"], input=text.encode(), capture_output=True, check=False, timeout=120
        )
        if ran.returncode != 0 or ran.stdout.decode("utf-8", "replace") != text:
            raise PostError("The file holds something that must not leave, or could not be searched. Export it again.")
    return text


def find_pull_request(event: Path) -> int | None:
    """Return the number of the pull request that the workflow runs for."""
    number = json.loads(event.read_text(encoding="utf-8")).get("pull_request", {}).get("number")
    return number if isinstance(number, int) else None


class Comments:
    """The comments of one pull request."""

    def __init__(self, api: str, repository: str, number: int, token: str) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise PostError("GITHUB_REPOSITORY is not OWNER/NAME.")
        self._issues = f"{api}/repos/{repository}/issues"
        self._list = f"{self._issues}/{number}/comments"
        self._token = token

    def own(self, author: str, marker: str) -> list[int]:
        """Return the ids of our comments, the oldest first. Others may write the marker too."""
        found: list[int] = []
        page = 1
        while comments := self._call("GET", f"{self._list}?per_page={PAGE}&page={page}"):
            found += [
                one["id"] for one in comments if one["user"]["login"] == author and one["body"].startswith(marker)
            ]
            page += 1
            if len(comments) < PAGE:
                break
        return sorted(found)

    def publish(self, body: str, author: str, marker: str) -> None:
        """Update our comment, or post it. Of two that ran at once, the older comment stays."""
        if not self.own(author, marker):
            self._call("POST", self._list, {"body": body})
        ours = self.own(author, marker)
        for comment in ours[:1]:
            self._call("PATCH", f"{self._issues}/comments/{comment}", {"body": body})
        for other in ours[1:]:
            self._call("DELETE", f"{self._issues}/comments/{other}")

    def _call(self, method: str, url: str, data: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - any JSON
        request = urllib.request.Request(  # noqa: S310 - the API of GitHub, by the runner's own variable
            url,
            method=method,
            data=None if data is None else json.dumps(data).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None


def main() -> None:
    """Write the summary, then the comment."""
    environment = os.environ
    marker = make_marker(environment["KAIZEN_NAME"])
    text = clean(read_result(Path(environment["KAIZEN_FILE"])))
    with Path(environment["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(f"{text}\n")
    number = find_pull_request(Path(environment["GITHUB_EVENT_PATH"]))
    if number is None:
        print("::notice::No pull request: the result is in the summary of this job.")
        return
    api = environment.get("GITHUB_API_URL", "https://api.github.com")
    comments = Comments(api, environment["GITHUB_REPOSITORY"], number, environment["KAIZEN_TOKEN"])
    try:
        comments.publish(f"{marker}\n{text}", environment["KAIZEN_AUTHOR"], marker)
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise PostError(f"GitHub answered {error.code}.") from None
        print("::notice::The token may not comment, as in a pull request from a fork: see the summary of this job.")
    except (urllib.error.URLError, TimeoutError):
        raise PostError("GitHub cannot be reached.") from None


if __name__ == "__main__":
    try:
        main()
    except PostError as failure:
        print(f"::error::{failure}")
        sys.exit(1)
