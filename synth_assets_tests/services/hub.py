"""A stand-in for the Hugging Face model hub on loopback, and a tiny model to serve from it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A repository name may hold one slash ("org/name") or none ("distilgpt2").
_NAME = r"(?P<name>[^/]+(?:/[^/]+)?)"
_INFO = re.compile(rf"/api/models/{_NAME}")
_INFO_AT_REVISION = re.compile(rf"/api/models/{_NAME}/revision/(?P<revision>[^/]+)")
_TREE = re.compile(rf"/api/models/{_NAME}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
_FILE = re.compile(rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")

_SENTENCES = (
    "Sex is 2, Length is 0.455, Diameter is 0.365, Height is 0.095, Rings is 15.0",
    "Whole_weight is 0.514, Shucked_weight is 0.2245, Viscera_weight is 0.101, Shell_weight is 0.15",
    "Class_number_of_rings is 15, Sex is M, Sex is F, Sex is I, Length is 0.35, Height is 0.09",
)


@dataclass(frozen=True)
class HubStandIn:
    """A running stand-in.

    Attributes
    ----------
    url : str
        Base address, to be given to a process as ``HF_ENDPOINT``.
    requests : list of tuple of str
        Every ``(method, path)`` seen so far, in order of arrival.
    """

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)


class _Repository:
    """The files of one model folder as they are when serving starts, with one commit id for all of them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        self.etags: dict[str, str] = {}
        for file, path in self.files.items():
            with path.open("rb") as stream:
                self.etags[file] = hashlib.file_digest(stream, "sha256").hexdigest()
        # The client takes a revision for a commit only when it is 40 hexadecimal digits.
        self.commit = hashlib.sha256(json.dumps(self.etags).encode()).hexdigest()[:40]

    def info(self) -> dict[str, object]:
        siblings = [{"rfilename": file} for file in self.files]
        return {"id": self.name, "modelId": self.name, "sha": self.commit, "tags": [], "siblings": siblings}

    def tree(self, folder: str, *, recursive: bool) -> list[dict[str, object]]:
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, object]] = {}
        for file, path in self.files.items():
            if not file.startswith(prefix):
                continue
            child, is_below, _ = file.removeprefix(prefix).partition("/")
            if is_below:
                below = prefix + child
                entries[below] = {"type": "directory", "path": below, "oid": self.commit, "size": 0}
            if recursive or not is_below:
                size = path.stat().st_size
                entries[file] = {"type": "file", "path": file, "oid": self.etags[file][:40], "size": size}
        return list(entries.values())


class _Handler(BaseHTTPRequestHandler):
    """Answers the read-only part of the hub's protocol.

    The protocol version stays HTTP/1.0, so that no kept-alive connection outlives the stand-in. No answer
    names a Xet hash, so the client takes plain HTTP even where it has Xet installed.
    """

    def __init__(self, *args: object, repositories: Mapping[str, _Repository], requests: list[tuple[str, str]]) -> None:
        self._repositories = repositories
        self._requests = requests
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a request."""
        parts = urlsplit(self.path)
        self._requests.append((self.command, parts.path))
        for pattern in (_FILE, _TREE, _INFO_AT_REVISION, _INFO):
            if match := pattern.fullmatch(parts.path):
                break
        else:
            self._send(HTTPStatus.NOT_FOUND)
            return
        asked = {key: unquote(value) for key, value in match.groupdict(default="").items()}

        repository = self._repositories.get(asked["name"])
        if repository is None:
            # The hub hides from an anonymous caller whether a repository is missing or private: 401, not 404.
            self._send_error_code(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Repository not found")
        elif asked.get("revision", "main") not in ("main", repository.commit):
            self._send_error_code(HTTPStatus.NOT_FOUND, "RevisionNotFound", "Invalid rev id")
        elif "file" in asked:
            self._send_file(repository, asked["file"])
        elif "folder" in asked:
            entries = repository.tree(asked["folder"], recursive="recursive=true" in parts.query.lower())
            if entries:
                self._send_json(entries)
            else:
                self._send_entry_not_found(repository)
        else:
            self._send_json(repository.info())

    def do_HEAD(self) -> None:
        """Answer a request with the headers alone; what sends a body looks at the method."""
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Keep the test output free of access lines; ``HubStandIn.requests`` holds them."""

    def _send_file(self, repository: _Repository, file: str) -> None:
        path = repository.files.get(file)
        if path is None:
            self._send_entry_not_found(repository)
            return
        with path.open("rb") as stream:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.send_header("ETag", f'"{repository.etags[file]}"')
            self.send_header("X-Repo-Commit", repository.commit)
            self.end_headers()
            if self.command == "GET":
                shutil.copyfileobj(stream, self.wfile)

    def _send_entry_not_found(self, repository: _Repository) -> None:
        # With the commit the client can remember that this file does not exist, as it does with the hub.
        headers = {"X-Repo-Commit": repository.commit}
        self._send_error_code(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", headers)

    def _send_error_code(
        self, status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, json.dumps({"error": message}).encode(), {**named, **(headers or {})})

    def _send_json(self, content: object) -> None:
        self._send(HTTPStatus.OK, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: HTTPStatus, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serve_hub(models: Mapping[str, Path]) -> Iterator[HubStandIn]:
    """Serve local model folders as a model hub on loopback.

    Parameters
    ----------
    models : mapping of str to pathlib.Path
        Repository name, with or without an organisation, to the folder that holds its files. The list of
        files is read once, when serving starts.

    Yields
    ------
    HubStandIn
        The address to use as ``HF_ENDPOINT``, and the requests seen.
    """
    repositories = {name: _Repository(name, folder) for name, folder in models.items()}
    requests: list[tuple[str, str]] = []
    handler = partial(_Handler, repositories=repositories, requests=requests)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        # The default poll of half a second would be paid at the end of every test.
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield HubStandIn(f"http://127.0.0.1:{server.server_port}", requests)
        finally:
            server.shutdown()
            thread.join()


def make_tiny_gpt2(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny GPT-2 with random weights and a byte-level BPE tokenizer of its own.

    As with distilgpt2, ``<|endoftext|>`` is the only special token and there is no padding token.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write; made if missing.
    seed : int, optional
        Seed of the weights. The caller's random state is left as it was.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    end = "<|endoftext|>"
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=[end],
        # All 256 bytes, so that no text is ever unknown.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(_SENTENCES, trainer)
    # A column name or a number of the abalone table takes a few tokens, a row of it some 70.
    positions = 512
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = GPT2Tokenizer(vocab=trained.get_vocab(), merges=merges, model_max_length=positions)

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
