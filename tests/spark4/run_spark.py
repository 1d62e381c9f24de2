"""Start a Spark 4 on this machine and run against it the tests that otherwise use Sail.

    python tests/spark4/run_spark.py [PYTEST ARGUMENTS]

The server comes from PyPI (requirements.txt beside this file, 490 MB) and goes into build/spark4 once; it needs Java 17
or newer. It listens on the loopback interface alone and ends with this program, also when a test fails. Exits with 0
only if the tests ran there and passed; with 2 where there is no Java.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SERVER = ROOT / "build" / "spark4"
LOG = ROOT / "build" / "spark4.log"
TESTS = ("tests/unit/exports/test_engines.py", "tests/unit/lake/test_lake_team.py")
OLDEST_JAVA = 17
START_TIMEOUT_S = 120

_JAVA_VERSION = re.compile(r'version "(\d+)')
_STARTED = re.compile(r"Spark Connect server started at: 127\.0\.0\.1:(\d+)")
_QUERIED = re.compile(r"ExecuteHolder .* is created")

SETTINGS = {
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.connect.grpc.binding.port": "0",  # any free one; the log names it
    "spark.ui.enabled": "false",
    # Half of a test's time is Java compiling itself; without its second compiler that takes a third less.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def main() -> int:
    """Return the exit code of the tests, or 2 where they cannot run."""
    problem = check_java()
    if problem:
        print(f"{problem}\nNot tested: {', '.join(TESTS)} on Spark 4 (`make test` runs them on Sail).", file=sys.stderr)
        return 2
    install_server()
    with run_server() as port:
        arguments = [sys.executable, "-m", "pytest", *TESTS, *sys.argv[1:]]
        environment = {**os.environ, "KAIZEN_TEST_SPARK": f"sc://127.0.0.1:{port}"}
        code = subprocess.run(arguments, cwd=ROOT, env=environment, check=False).returncode
    queries = len(_QUERIED.findall(LOG.read_text("utf-8", "replace")))
    print(f"{read_requirement()} ran {queries} queries for them; its log is {LOG.relative_to(ROOT)}.")
    if queries == 0:
        print("So the tests ran elsewhere: do they still read KAIZEN_TEST_SPARK?", file=sys.stderr)
    return code or int(queries == 0)


def check_java() -> str | None:
    """Return what is wrong with the Java of this machine, or None."""
    java = shutil.which("java")
    if java is None:
        return "There is no java on the PATH; Spark 4 needs Java 17 or newer (Debian: openjdk-17-jre-headless)."
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = _JAVA_VERSION.search(shown)
    if found is None or int(found[1]) < OLDEST_JAVA:
        return f"{java} is {shown.strip().splitlines()[:1]}; Spark 4 needs Java {OLDEST_JAVA} or newer."
    return None


def read_requirement() -> str:
    """Return the pinned server, such as `pyspark==4.3.0`."""
    return REQUIREMENTS.read_text("utf-8").split()[0]


def install_server() -> None:
    """Install the server unless the one that is pinned is there whole."""
    mark = SERVER / REQUIREMENTS.name
    if mark.exists() and mark.read_bytes() == REQUIREMENTS.read_bytes():
        return
    print(f"Installing {read_requirement()} into {SERVER.relative_to(ROOT)} (once; a minute or more)", flush=True)
    shutil.rmtree(SERVER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Only the server is used, so its Python dependencies are not: the tests bring the client that users get.
    chosen = ["--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS), "--target", str(SERVER)]
    subprocess.run([*pip, *chosen], check=True)
    shutil.copyfile(REQUIREMENTS, mark)


@contextmanager
def run_server() -> Iterator[int]:
    """Start the server, yield its port, and stop it whatever happens."""
    home = SERVER / "pyspark"
    with tempfile.TemporaryDirectory(prefix="kaizen-spark-") as scratch, LOG.open("w") as log:
        settings = {**SETTINGS, "spark.local.dir": scratch, "spark.sql.warehouse.dir": scratch}
        options = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        kind = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[2]"]
        environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
        command = [str(home / "bin" / "spark-submit"), *kind, *options]
        server = subprocess.Popen(command, cwd=scratch, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield wait_for_port(server)
        finally:
            stop(server)


def wait_for_port(server: subprocess.Popen[bytes]) -> int:
    """Return the port once the server listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        started = _STARTED.search(LOG.read_text("utf-8", "replace"))
        if started:
            return int(started[1])
        time.sleep(0.2)
    last = "\n".join(LOG.read_text("utf-8", "replace").splitlines()[-20:])
    sys.exit(f"Spark did not start within {START_TIMEOUT_S} s; the end of {LOG}:\n{last}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server; it gets some seconds to remove its files."""
    server.terminate()
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    # A make or a CI that gives up ends this program with SIGTERM; the server must end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
