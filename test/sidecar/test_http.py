"""http tasks, against a server that misbehaves in every way it is asked to: the outcome of each reply, the signature, and
that a request goes nowhere but to the host that was enabled."""

import email.utils
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import time

import pytest
from pages import DOCS, blocks
from sandbox import Sandbox, wait_until
from scene import Scene

SECRET = "a secret that nobody guesses"
NOBODY = "http://127.0.0.1:9"
PROXIES = {name: NOBODY for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}


class Receiver(http.server.BaseHTTPRequestHandler):
    """Does what the path says: /status/503?Retry-After=7, /text, /drip …"""

    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", content_type="application/json", **headers):
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), body))
        path, _, query = self.path.partition("?")
        _, what, *rest = path.split("/")
        getattr(self, f"do_{what}")(*rest, **dict(pair.split("=", 1) for pair in query.split("&") if pair))

    do_GET = do_POST

    def do_status(self, status, **headers):
        body = b"" if status in ("204", "304") else b'{"why": "because"}'
        self.answer(int(status), body, **{name: value.replace("+", " ") for name, value in headers.items()})

    def do_interim(self):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/plain\r\n\r\n")
        self.answer(200, b'{"why": "because"}')

    def do_echo(self, **_):
        self.answer(200, self.seen[-1][2])

    def do_text(self):
        self.answer(200, "grüß \0 dich".encode(), "text/plain; charset=utf-8")

    def do_nothing(self):
        self.answer(204, content_type=None)

    def do_binary(self):
        self.answer(201, b"\0\1", "image/png")

    def do_broken(self):
        self.answer(200, b"{", "application/problem+json")

    def do_huge(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def do_headers(self):
        self.send_response(200)
        for n in range(90):
            self.send_header(f"X-{n}", "y" * 4000)
        self.end_headers()

    def do_drip(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while not self.server.leaving.wait(0.05):
                self.wfile.write(b"x")
        except OSError:
            pass

    def do_hang(self):
        self.server.leaving.wait(60)
        self.close_connection = True

    def do_reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True

    def do_short(self):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"{")
        self.close_connection = True

    def do_garbage(self):
        self.wfile.write(b"\x16\x03 no HTTP at all\r\n\r\n")
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.leaving = threading.Event()
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass

    def end(self):
        self.leaving.set()
        self.shutdown()
        self.server_close()


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA of our own, and certificates that it signed or did not."""
    path = tmp_path_factory.mktemp("ca")
    for parent in [path, *path.parents]:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(*new, "-keyout", path / "ca.key", "-out", path / "ca.pem", "-subj", "/CN=test CA")
    for name, host, signed in [("good", "localhost", True), ("other_host", "elsewhere.example", True), ("self_signed", "localhost", False)]:
        by = ("-CA", path / "ca.pem", "-CAkey", path / "ca.key") if signed else ()
        openssl(*new, "-keyout", path / "key", "-out", path / "cert", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
                "-addext", "basicConstraints=critical,CA:false", *by)
        (path / f"{name}.pem").write_text((path / "cert").read_text() + (path / "key").read_text())
    return path


@pytest.fixture(scope="module")
def servers(certificates):
    """By name: plain, and those with certificates."""
    made = {"plain": Server(), **{name: Server(certificates / f"{name}.pem") for name in ("good", "other_host", "self_signed")}}
    yield made
    for server in made.values():
        server.end()


@pytest.fixture(scope="module")
def scene(certificates):
    (certificates / "hook-key").write_text(SECRET + "\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PROXIES.items():
            patch.setenv(name, value)
        with Sandbox(conf=["sluice.allow_private_targets = on"],
                     sidecar_conf=('worker.executors = ["http"]', "worker.capacity = 4",
                                   'http.hosts = ["localhost", "127.0.0.1", "[::1]", "*.invalid"]',
                                   f'http.ca_file = "{certificates}/ca.pem"', 'http.max_reply_bytes = "100kB"',
                                   f'secrets.directory = "{certificates}"', 'log.level = "debug"')) as sandbox:
            yield Scene(sandbox)


@pytest.fixture
def ask(scene, servers):
    """Runs a task for a path of a server; returns status, output and error."""
    def call(path, payload=None, server="plain", **more):
        return scene.run(scene.task("http", servers[server].url + path, **more), payload)
    return call


# --- Replies ---

@pytest.mark.parametrize("path, output", [
    ("/echo", {"a": [1, "ä€😀"]}), ("/text", "grüß \ufffd dich"), ("/nothing", None), ("/binary", None), ("/status/299", {"why": "because"}),
    ("/interim", {"why": "because"}),
])
def test_2xx_completes_with_json_or_text(ask, path, output):
    assert ask(path, {"a": [1, "ä€😀"]}) == ("completed", output, None)


def test_every_status_has_its_outcome(scene, servers):
    statuses = [status for status in range(200, 600) if status != 202]
    scene.rows("""select sluice.create_task('status-' || status, 'http', %s || status, retry => '{"max_attempts": 1}')
                  from unnest(%s) as status""", servers["plain"].url + "/status/", statuses)
    for status, run in scene.rows("select status, sluice.enqueue('status-' || status) from unnest(%s) as status", statuses):
        ended, output, error = scene.result(run, "60 seconds")
        if status < 300:
            assert (ended, output) == ("completed", None if status == 204 else {"why": "because"}), status
            continue
        assert (ended, error["name"], error["http_status"]) == ("failed", "HttpStatus", status)
        passing = status in (408, 425, 429) or status >= 500 and status not in (501, 505)
        assert error.get("retryable") is (None if passing else False), status


@pytest.mark.parametrize("status, retried", [
    *[(status, True) for status in (408, 425, 429, 500, 502, 503, 504, 507)],
    *[(status, False) for status in (300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 413, 422, 451, 501, 505)],
])
def test_other_statuses_fail_and_only_some_are_tried_again(scene, servers, status, retried):
    run = scene.start(scene.task("http", f"{servers['plain'].url}/status/{status}?Location=/echo", attempts=2))
    ended, _, error = scene.result(run)
    assert (ended, error["code"], error["http_status"]) == ("failed", "TASK_EXECUTION_FAILED", status)
    assert json.loads(error["body"]) == {"why": "because"}
    assert scene.value("select attempt from sluice.runs where run_id = %s", run) == (2 if retried else 1)


@pytest.mark.parametrize("status, header, at_least, at_most", [
    (429, "700", 600, 700), (503, "{date}", 600, 700), (503, "99999999999999999999", 86_000, 86_400), (429, "soon", 0, 1), (500, "-5", 0, 1),
])
def test_retry_after_is_honoured_as_seconds_and_as_a_date(scene, servers, status, header, at_least, at_most):
    header = header.replace("{date}", email.utils.formatdate(time.time() + 695, usegmt=True)).replace(" ", "+")
    run = scene.start(scene.task("http", f"{servers['plain'].url}/status/{status}?Retry-After={header}", attempts=2))
    if at_least == 0:
        assert scene.result(run)[0] == "failed", "what is no time leaves it to the task's policy"
        return
    wait_until("it waits", lambda: scene.status(run) == "retrying")
    delay = scene.value("select extract(epoch from ready_at - clock_timestamp())::float8 from sluice.runs where run_id = %s", run)
    assert at_least < delay <= at_most
    scene.value("select sluice.cancel(%s)", run)


@pytest.mark.parametrize("path, code, name, message", [
    ("/broken", "TASK_OUTPUT_ERROR", None, "says that it is JSON"),
    ("/huge", "TASK_OUTPUT_ERROR", None, "too long"),
    ("/headers", "TASK_OUTPUT_ERROR", None, "too long"),
    ("/reset", "TASK_EXECUTION_FAILED", "HttpConnection", ""),
    ("/short", "TASK_EXECUTION_FAILED", "HttpConnection", ""),
    ("/garbage", "TASK_EXECUTION_FAILED", "HttpConnection", ""),
])
def test_replies_that_are_none_fail(ask, path, code, name, message):
    status, _, error = ask(path)
    assert (status, error["code"], error.get("name")) == ("failed", code, name), error
    assert message in error["message"]
    assert error.get("retryable") is (False if code == "TASK_OUTPUT_ERROR" else None), "what the receiver has done is not done again"


def test_hanging_and_dripping_servers_run_into_the_timeout(scene, servers):
    runs = [scene.start(scene.task("http", servers["plain"].url + path, timeout_seconds=1)) for path in ("/hang", "/drip")]
    for run in runs:
        status, _, error = scene.result(run)
        assert (status, error["name"]) == ("failed", "HttpTimeout")


def test_cancel_and_max_duration_abort_a_request(scene, servers):
    timed = scene.start(scene.task("http", servers["plain"].url + "/hang", max_duration="5 seconds"))
    run = scene.start(scene.task("http", servers["plain"].url + "/hang"))
    wait_until("the server has it", lambda: any(headers["sluice-run-id"] == str(run) for _, headers, _ in Receiver.seen))
    scene.value("select sluice.cancel(%s)", run)
    wait_until("its place is free", lambda: scene.value("select executing from sluice.workers where worker = 'sidecar'") <= 1)
    assert scene.result(timed)[0] == "timed_out"


def test_nobody_listening_and_no_such_name_fail_and_are_tried_again(scene):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for host, said in ((f"localhost:{unused.getsockname()[1]}", "connect"), ("no-such-name.invalid", "resolve host: no-such-name.invalid")):
            run = scene.start(scene.task("http", f"http://{host}/", attempts=2))
            status, _, error = scene.result(run, "60 seconds")
            assert (status, error["name"]) == ("failed", "HttpConnection"), error
            assert said in error["message"]
            assert scene.value("select attempt from sluice.runs where run_id = %s", run) == 2


# --- The request ---

def test_a_request_says_what_it_is_for_and_is_signed(scene, servers, ask):
    task = scene.task("http", servers["plain"].url + "/echo?a=b%20c", headers={"Authorization": "Bearer x", "X-Tab": "a\tb"}, secret="hook-key")
    run = scene.value("select sluice.enqueue(%s, %s, traceparent => %s)", task, json.dumps({"n": 1.0, "t": "ä"}),
                      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert scene.result(run) == ("completed", {"n": 1.0, "t": "ä"}, None)
    path, headers, body = next(entry for entry in Receiver.seen if entry[1].get("sluice-run-id") == str(run))
    headers = {name.lower(): value for name, value in headers.items()}
    assert path == "/echo?a=b%20c" and json.loads(body) == {"n": 1.0, "t": "ä"}
    assert (headers["content-type"], headers["sluice-attempt"], headers["sluice-task"]) == ("application/json", "1", task)
    assert (headers["authorization"], headers["x-tab"]) == ("Bearer x", "a\tb")
    assert headers["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-") and "00f067aa0ba902b7" not in headers["traceparent"]
    assert "expect" not in headers and "accept-encoding" not in headers
    example = next(block.text for block in blocks(DOCS / "http.md") if block.language == "python")
    space = {}
    exec(example, space)  # what the page tells receivers to do
    genuine = space["is_genuine"]
    assert genuine(SECRET, headers, body)
    assert not genuine(SECRET, headers, body + b" ") and not genuine("another", headers, body)
    assert not genuine(SECRET, headers | {"sluice-run-id": "1"}, body) and not genuine(SECRET, headers, body, time.time() + 600)
    time_, signature = (part.split("=", 1)[1] for part in headers["sluice-signature"].split(","))
    assert abs(time.time() - int(time_)) < 30
    signed = f"{time_}.{run}.1.".encode() + body
    assert hmac.compare_digest(signature, hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest())
    contents = scene.contents()
    assert "hook-key" in contents and SECRET not in contents + scene.sandbox.sidecar_log()


def test_without_a_payload_the_body_is_null_and_an_unknown_secret_is_an_error(ask):
    assert ask("/echo") == ("completed", None, None)
    assert Receiver.seen[-1][2] == b"null"
    status, _, error = ask("/echo", secret="none-of-that-name")
    assert (status, error["code"]) == ("failed", "CONFIGURED_INCORRECTLY")


# --- 202 ---

def test_202_leaves_the_attempt_to_its_token_and_takes_no_place(scene, servers):
    task = scene.task("http", servers["plain"].url + "/status/202", lease="2 seconds")
    runs = [scene.start(task, n) for n in range(6)]  # more than there are places
    def token(run):
        return next((headers["sluice-token"] for _, headers, _ in Receiver.seen if headers.get("sluice-run-id") == str(run)), None)
    for run in runs:
        wait_until("the receiver has it", lambda run=run: token(run))
    wait_until("longer than a lease", lambda: scene.value(
        "select clock_timestamp() - started_at > interval '3 seconds' from sluice.runs where run_id = %s", runs[-1]))
    assert {scene.status(run) for run in runs} == {"executing"}, "the lease is renewed meanwhile"
    for run in runs[:3]:
        assert scene.value("select sluice.complete(%s, %s)", token(run), json.dumps({"by": "the receiver"})) == "done"
        assert scene.result(run) == ("completed", {"by": "the receiver"}, None)
    scene.value("select sluice.fail(%s, '\"no\"')", token(runs[3]))
    assert scene.result(runs[3])[0] == "failed"
    for run in runs[4:]:
        scene.value("select sluice.cancel(%s)", run)
    wait_until("the sidecar has let go of all", lambda: scene.value("select executing from sluice.workers where worker = 'sidecar'") == 0, 20)


# --- Where a request may go ---

@pytest.mark.parametrize("server, ok", [("good", True), ("other_host", False), ("self_signed", False)])
def test_certificates_are_verified(scene, servers, server, ok):
    run = scene.start(scene.task("http", servers[server].url + "/nothing", attempts=2))
    status, _, error = scene.result(run)
    if ok:
        assert status == "completed", error
    else:
        assert (status, error["name"]) == ("failed", "HttpCertificate")
        assert scene.value("select attempt from sluice.runs where run_id = %s", run) == 1


@pytest.mark.parametrize("server", ["plain", "good"])
def test_proxies_that_the_environment_names_are_not_used(scene, ask, server):
    environment = pathlib.Path(f"/proc/{scene.sandbox.sidecar_pid()}/environ").read_text().split("\0")
    assert {f"{name}={value}" for name, value in PROXIES.items()} <= set(environment)
    assert ask("/nothing", server=server) == ("completed", None, None)


@pytest.mark.parametrize("url", ["http://example.com/", "http://localhost.example/", "http://127.0.0.2:{port}/echo", "http://2130706434:{port}/echo"])
def test_hosts_that_are_not_enabled_are_refused(scene, servers, url):
    status, _, error = scene.run(scene.task("http", url.replace("{port}", str(servers["plain"].server_port)), attempts=2))
    assert (status, error["code"]) == ("failed", "CONFIGURED_INCORRECTLY")
    assert "http.hosts" in error["message"]


def test_private_addresses_are_refused_after_the_name_was_resolved(scene, servers, ask):
    port = servers["plain"].server_port
    assert ask("/echo")[0] == "completed"  # leaves an open connection, which must not be used once it is forbidden
    before = len(Receiver.seen)
    scene.sandbox.rows("alter system set sluice.allow_private_targets = off")
    scene.sandbox.rows("select pg_reload_conf()")
    wait_until("it is off", lambda: scene.value("select current_setting('sluice.allow_private_targets') from sluice.version()") == "off")
    for url in (f"http://localhost:{port}/echo", f"http://127.0.0.1:{port}/echo", f"http://[::1]:{port}/echo", f"http://0x7f.1:{port}/echo",
                f"http://2130706433:{port}/echo"):
        status, _, error = scene.run(scene.task("http", url, attempts=2))
        assert (status, error["code"]) == ("failed", "CONFIGURED_INCORRECTLY"), url
        assert "private address" in error["message"], url
    assert len(Receiver.seen) == before
    scene.sandbox.rows("alter system reset sluice.allow_private_targets")
    scene.sandbox.rows("select pg_reload_conf()")
