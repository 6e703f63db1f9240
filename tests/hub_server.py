"""A small Hub on loopback that speaks to the real `huggingface_hub` client, and a client process to speak to it.

The server keeps repositories, branches and LFS objects in memory, answers the endpoints that the client uses to push
and to load a model over plain HTTP, and has faults that a test can switch on. The client lives in a process of its own,
because `huggingface_hub` reads `HF_ENDPOINT` and `HF_HUB_DISABLE_XET` when it is imported.
"""

import base64
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS_SUFFIXES = (".safetensors", ".bin", ".png", ".parquet")
KIND = r"(?:models|datasets)"
REPO_ID = r"(?P<repo>[\w.-]+/[\w.-]+)"


class Refusal(Exception):
    """An HTTP error answer with the headers by which the client tells one from another."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Repo:
    """A repository: every commit is a whole tree {path: content}."""

    owner: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, bytes]) -> str:
        digest = hashlib.sha1(f"{len(self.commits)} {sorted(tree)}".encode()).hexdigest()
        self.commits[digest], self.branches[branch] = tree, digest
        return digest

    def resolve(self, revision: str) -> str:
        digest = self.branches.get(revision, revision)
        if digest not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return digest


@dataclass
class Faults:
    """What goes wrong with requests, and with the transfer of files, and for how many."""

    drop_after: int | None = None  # bytes of the body after which the connection is cut
    drops: int = 0  # how many more downloads are cut
    drop_uploads: bool = False
    corrupt: bool = False  # one byte of each large file is changed; size and hash are announced as they should be
    corrupt_small: bool = False  # of each small one
    status: int | None = None  # answer with this HTTP status …
    page: bytes | None = None  # … or with 200 and this page, as the login of a hotel does …
    hang_up: bool = False  # … or not at all …
    after: int = 0  # … when so many requests went well …
    times: int = 10**9  # … and for so many

    def strikes(self) -> bool:
        """Whether this request is one that goes wrong; counts it."""
        if not (self.status or self.page or self.hang_up):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return self.times >= 0


class FakeHub:
    """Two servers, as on the real Hub: the Hub itself, and a content store on another origin that it redirects to.

    `users` maps tokens to user names; `requests` lists what was asked, as "METHOD path"; `strayed` lists requests
    that carried a token to the store, where none belongs.
    """

    def __init__(self):
        self.users: dict[str, str] = {}
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.faults = Faults()
        self.requests: list[str] = []
        self.strayed: list[str] = []
        self.servers = []
        self.url, self.store_url = self._serve(Handler), self._serve(StoreHandler)

    def _serve(self, handler: type) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    def empty(self) -> None:
        """Forget everything and everybody."""
        for held in (self.users, self.repos, self.objects, self.requests, self.strayed):
            held.clear()
        self.faults = Faults()

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add_repo(self, repo_id: str, files: dict[str, bytes], **options) -> Repo:
        """Put a repository there without a push."""
        repo = self.repos[repo_id] = Repo(owner=repo_id.split("/")[0], **options)
        repo.commit("main", dict(files))
        return repo

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        repo = self.repos[repo_id]
        return repo.commits[repo.resolve(revision)]


class Handler(BaseHTTPRequestHandler):
    """One request: find its route, check who asks, answer."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub
    routes: list

    def do_GET(self):
        self._dispatch()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *args):
        pass

    def _dispatch(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        cut = self.hub.faults.drop_uploads and self.command == "PUT"
        self.body = b"" if cut else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        strikes = self.hub.faults.strikes()
        if cut or (strikes and self.hub.faults.hang_up):
            return self._hang_up()
        try:
            if strikes and self.hub.faults.page:
                return self._send(200, self.hub.faults.page, {"Content-Type": "text/html"})
            if strikes:
                raise Refusal(self.hub.faults.status, message="the server has a bad day")
            for methods, pattern, action in self.routes:
                if self.command in methods and (match := re.fullmatch(pattern, path)):
                    return action(self, **match.groupdict())
            raise Refusal(404, message=f"no such endpoint: {self.command} {path}")
        except Refusal as refusal:
            self._send(
                refusal.status,
                json.dumps({"error": refusal.message}).encode(),
                {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message},
            )

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def _send(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    # who asks, and may they

    def _user(self) -> str | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        user = self.hub.users.get(header.removeprefix("Bearer "))
        if user is None:
            raise Refusal(401, message="Invalid credentials in Authorization header")
        return user

    def _repo(self, repo_id: str, write: bool = False, content: bool = False) -> Repo:
        """The repository as the real Hub would show it: to strangers, private and absent ones look alike."""
        user, repo = self._user(), self.hub.repos.get(repo_id)
        if repo is None or (repo.private and user != repo.owner):
            raise (
                Refusal(404, "RepoNotFound", "Repository not found")
                if user
                else Refusal(401, message="Invalid username or password.")
            )
        if write and user != repo.owner:
            raise Refusal(403 if user else 401, message="You don't have the rights to write to this repository")
        if content and repo.gated and user != repo.owner:
            raise Refusal(403 if user else 401, "GatedRepo", f"Access to model {repo_id} is restricted.")
        return repo

    # the API

    def whoami(self):
        user = self._user()
        if user is None:
            raise Refusal(401, message="Invalid username or password.")
        self._send_json({"type": "user", "name": user, "orgs": [], "auth": {"type": "access_token"}})

    def create_repo(self):
        user, wish = self._user(), json.loads(self.body)
        if user is None:
            raise Refusal(401, message="Invalid username or password.")
        owner = wish.get("organization") or user
        repo_id = f"{owner}/{wish['name']}"
        if owner != user:
            raise Refusal(403, message=f"You don't have the rights to create a model under the namespace {owner}")
        answer = {"url": f"{self.hub.url}/{repo_id}", "name": repo_id, "id": repo_id}
        if repo_id in self.hub.repos:
            return self._send_json({**answer, "error": "You already created this model repo"}, 409)
        private = wish.get("visibility") == "private" or wish.get("private") is True
        first = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
        self.hub.add_repo(repo_id, first, private=private)
        self._send_json(answer)

    def validate_yaml(self):
        match = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.S)
        front = yaml.safe_load(match[1]) if match else None
        if not isinstance(front, dict):
            return self._send_json({"errors": [{"message": "no metadata"}], "warnings": []}, 400)
        self._send_json({"errors": [], "warnings": []})

    def model_info(self, repo: str, revision: str | None = None):
        found = self._repo(repo)
        digest = found.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(found.commits[digest])]
        self._send_json({"id": repo, "modelId": repo, "sha": digest, "private": found.private, "siblings": siblings})

    def list_tree(self, repo: str, revision: str, folder: str | None = None):
        """The files below a folder, or its files and folders; a folder that is named has to be there."""
        found, start = self._repo(repo), f"{folder}/" if folder else ""
        tree = found.commits[found.resolve(revision)]
        inside = sorted(path for path in tree if path.startswith(start))
        if folder is not None and not inside:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        if "recursive=true" not in urlsplit(self.path).query.lower():
            inside = sorted({start + path.removeprefix(start).split("/")[0] for path in inside})
        self._send_json([_describe_path(tree, path) for path in inside])

    def paths_info(self, repo: str, revision: str):
        found = self._repo(repo)
        tree = found.commits[found.resolve(revision)]
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode())["paths"]
        there = [path for path in paths if path in tree or any(name.startswith(f"{path}/") for name in tree)]
        self._send_json([_describe_path(tree, path) for path in there])

    def list_refs(self, repo: str):
        branches = self._repo(repo).branches.items()
        listed = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": digest} for n, digest in branches]
        self._send_json({"branches": listed, "converts": [], "tags": []})

    def create_branch(self, repo: str, revision: str):
        found = self._repo(repo, write=True)
        if revision in found.branches:
            raise Refusal(409, message="Reference already exists")
        found.branches[revision] = found.branches["main"]
        self._send_json({})

    def preupload(self, repo: str, revision: str):
        found = self._repo(repo, write=True)
        tree = found.commits[found.resolve(revision)]
        answers = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            lfs = path.endswith(LFS_SUFFIXES)
            oid = None if path not in tree else _sha256(tree[path]) if lfs else _git_hash(tree[path])
            mode = "lfs" if lfs else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send_json({"files": answers})

    def lfs_batch(self, repo: str):
        self._repo(repo, write=True)
        answers = []
        for wanted in json.loads(self.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                upload = {"href": f"{self.hub.store_url}/lfs/{wanted['oid']}"}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/lfs/verify"}}
            answers.append(answer)
        self._send_json({"transfer": "basic", "objects": answers})

    def lfs_verify(self):
        claim = json.loads(self.body)
        if len(self.hub.objects.get(claim["oid"], b"")) != claim["size"]:
            raise Refusal(404, message="object not found")
        self._send_json({})

    def commit(self, repo: str, revision: str):
        found = self._repo(repo, write=True)
        tree = dict(found.commits[found.resolve(revision)])
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                tree[value["path"]] = self.hub.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                del tree[value["path"]]
        digest = found.commit(revision, tree)
        self._send_json({"commitUrl": f"{self.hub.url}/{repo}/commit/{digest}", "commitOid": digest})

    def resolve(self, repo: str, revision: str, file: str):
        """Small files come at once, large ones by a redirect to the content store, as on the real Hub."""
        found = self._repo(repo, content=True)
        digest = found.resolve(revision)
        headers = {"X-Repo-Commit": digest}
        content = found.commits[digest].get(file)
        if content is None:
            message = f"{file} does not exist on {revision}"
            return self._send(404, b"", {**headers, "X-Error-Code": "EntryNotFound", "X-Error-Message": message})
        if not file.endswith(LFS_SUFFIXES):
            sent = _change(content) if self.hub.faults.corrupt_small else content
            if self.command == "GET" and self.hub.faults.drops > 0:
                self.hub.faults.drops -= 1
                sent = sent[: len(sent) // 2]
                self._send(
                    200, sent, {**headers, "ETag": f'"{_git_hash(content)}"', "Content-Length": str(len(content))}
                )
                return self._hang_up()
            return self._send(200, sent, {**headers, "ETag": f'"{_git_hash(content)}"'})
        oid = _sha256(content)
        self.hub.objects[oid] = content
        linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        self._send(302, b"", {**headers, **linked, "Location": f"{self.hub.store_url}/content/{oid}"})


class StoreHandler(Handler):
    """The content store: no accounts, only hashes."""

    def _dispatch(self) -> None:
        if "Authorization" in self.headers:
            self.hub.strayed.append(self.path)
        super()._dispatch()

    def put(self, oid: str):
        if "Transfer-Encoding" in self.headers:
            self.body = _read_chunked(self.rfile)
        if _sha256(self.body) != oid:
            raise Refusal(400, message="the content does not have the announced hash")
        self.hub.objects[oid] = self.body
        self._send(200)

    def get(self, oid: str):
        body, faults = self.hub.objects[oid], self.hub.faults
        if faults.corrupt:
            body = _change(body)
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        part = body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if faults.drops > 0:
            faults.drops -= 1
            self.wfile.write(part[: faults.drop_after])
            self.wfile.flush()
            return self._hang_up()
        self.wfile.write(part)


Handler.routes = [
    (("GET",), r"/api/whoami-v2", Handler.whoami),
    (("POST",), r"/api/repos/create", Handler.create_repo),
    (("POST",), r"/api/validate-yaml", Handler.validate_yaml),
    (("GET",), rf"/api/{KIND}/{REPO_ID}", Handler.model_info),
    (("GET",), rf"/api/{KIND}/{REPO_ID}/revision/(?P<revision>.+)", Handler.model_info),
    (("GET",), rf"/api/{KIND}/{REPO_ID}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", Handler.list_tree),
    (("POST",), rf"/api/{KIND}/{REPO_ID}/paths-info/(?P<revision>.+)", Handler.paths_info),
    (("GET",), rf"/api/{KIND}/{REPO_ID}/refs", Handler.list_refs),
    (("POST",), rf"/api/{KIND}/{REPO_ID}/branch/(?P<revision>.+)", Handler.create_branch),
    (("POST",), rf"/api/{KIND}/{REPO_ID}/preupload/(?P<revision>.+)", Handler.preupload),
    (("POST",), rf"/api/{KIND}/{REPO_ID}/commit/(?P<revision>.+)", Handler.commit),
    (("POST",), rf"/(?:datasets/)?{REPO_ID}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    (("POST",), r"/lfs/verify", Handler.lfs_verify),
    (("GET", "HEAD"), rf"/(?:datasets/)?{REPO_ID}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
]
StoreHandler.routes = [
    (("PUT",), r"/lfs/(?P<oid>[0-9a-f]{64})", StoreHandler.put),
    (("GET",), r"/content/(?P<oid>[0-9a-f]{64})", StoreHandler.get),
]


def _change(content: bytes) -> bytes:
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


def _describe_path(tree: dict[str, bytes], path: str) -> dict:
    """A file or a folder, as the Hub lists it."""
    if path not in tree:
        return {"type": "directory", "path": path, "size": 0, "oid": _git_hash(path.encode())}
    content = tree[path]
    entry = {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 128}
    return entry


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _read_chunked(stream) -> bytes:
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


class Client:
    """A Python process whose `huggingface_hub` knows only the loopback Hub; it runs functions of the test modules."""

    def __init__(self, endpoint: str, home: Path):
        self.log_path = home / "client.log"
        keep = {k: v for k, v in os.environ.items() if not k.upper().startswith(("HF_", "HUGGING_FACE_"))}
        proxies = {k: v for k, v in keep.items() if not k.lower().endswith("_proxy")}
        own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
        paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
        self.log = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env={**proxies, **own, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_DISABLE_TELEMETRY": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def run(self, function, **kwargs):
        """Call a module-level function there with JSON arguments; returns its JSON result.

        An exception comes back as {"error": its class, "message": its text, "cause": whether a cause is attached}.
        """
        job = {"module": Path(sys.modules[function.__module__].__file__).stem, "name": function.__name__}
        self.process.stdin.write(json.dumps({**job, "kwargs": kwargs}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the client process ended:\n{self.log_path.read_text()[-3000:]}")
        return json.loads(answer)

    def logs(self) -> str:
        self.log.flush()
        return self.log_path.read_text()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.log.close()


def serve_client() -> None:
    """The client process's loop: one JSON job a line in, one JSON answer a line out; stray prints go to the log."""
    import time

    answers, sys.stdout = sys.stdout, sys.stderr
    time.sleep = lambda seconds: None  # the client waits seconds between its retries
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = getattr(importlib.import_module(job["module"]), job["name"])(**job["kwargs"])
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # no need to take torch apart


if __name__ == "__main__":
    serve_client()
