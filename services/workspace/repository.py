"""The engine's own bare repository of a source: where commits are made, merged and named, far from any checkout."""

import asyncio
import functools
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.workspace import git, objects
from services.workspace.comparison import Change, Conflict, read_changes, read_conflict
from services.workspace.locks import write_patiently

_CONFIG = """\
[core]
	repositoryformatversion = 1
	filemode = true
	bare = true
	logallrefupdates = false
[extensions]
	preciousObjects = true
[gc]
	auto = 0
"""
"""`preciousObjects` makes git refuse to prune: workspaces borrow these objects."""

_TRUSTING = "[safe]\n\tdirectory = *\n"
"""For fetches only: the source may be owned by somebody else. `-c` does not reach the git at the other end."""

_DURABLE = ("core.fsync=objects,reference,derived-metadata", "core.fsyncMethod=batch")
_FAST = ("core.fsync=none",)
_FOR_FETCHES = ("SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy")
_FETCH_LIMIT = 3600.0
_MOVED = re.compile(r"but expected|reference already exists|unable to resolve reference")
"""What git says when a ref is not where it was to be moved from."""
_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A bare repository of the engine, at `root/<name>.git`. Safe to use from many tasks and processes at once.

    Object ids are full SHA-1 ids throughout. All methods raise `GitFailed`. With `durable`, what a method has stored
    survives a power cut.
    """

    root: Path
    name: str
    durable: bool = True

    @classmethod
    def open(cls, root: Path, *, name: str, durable: bool = True) -> "Repository":
        """The repository `name` below `root`, created when it is not there, by whoever comes first.

        Raises `ValueError` when the name is not a plain file name, `OSError` when the folder cannot be written.
        """
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} cannot be the name of a repository: it must be a plain file name")
        repository = cls(_resolved(root), name, durable)
        if not (repository.git_dir / "HEAD").exists():
            repository.root.mkdir(parents=True, exist_ok=True)
            repository._create()
        return repository

    @property
    def git_dir(self) -> Path:
        """The folder of the repository."""
        return self.root / f"{self.name}.git"

    @property
    def objects_dir(self) -> Path:
        """The folder that workspaces borrow objects from: a sandbox must let them read it."""
        return self.git_dir / "objects"

    @property
    def scratch(self) -> Path:
        """The folder for what the engine keeps beside git's own files."""
        return self.git_dir / "nightshift"

    async def fetch(self, source: str, ref_or_commit: str | None = None) -> str:
        """Copy a commit and its history from the user's repository (a folder or a URL), and return its id.

        `ref_or_commit` is a branch, a tag or a full commit id; None means what is checked out there. Nothing is written
        to the source. Raises `ValueError` when the source is neither a folder nor a URL.
        """
        address = _address(source)
        wanted = ref_or_commit or "HEAD"
        if not re.fullmatch(r"[^-+^:*?\[\\~\s][^:*?\[\\~^\s]*", wanted):
            raise ValueError(f"{wanted!r} cannot be the name of a branch or a tag, nor a commit id")
        key = hashlib.sha256(os.fsencode(f"{address}\0{wanted}")).hexdigest()
        ref = f"refs/sources/{key[:32]}"
        environment = {name: value for name in _FOR_FETCHES if (value := os.environ.get(name))}
        environment |= {
            "GIT_CONFIG_GLOBAL": str(self.scratch / "fetch.config"),
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        }
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow", "--no-recurse-submodules")
        await self._write_refs(
            "fetch", *options, "--", address, f"+{wanted}:{ref}", environment=environment, time_limit=_FETCH_LIMIT
        )
        return await self._resolve(ref)

    async def empty_commit(self) -> str:
        """The first commit of a plan without a repository: no files, no parent, the same id everywhere."""
        await asyncio.to_thread(objects.write_object, self.objects_dir, "tree", b"", durable=self.durable)
        return await self._store_commit(objects.EMPTY_TREE, (), "Nothing yet", 0, {})

    async def commit(
        self, tree: str, *, parents: Sequence[str], message: str, author_time: int, trailers: Mapping[str, str]
    ) -> str:
        """Store a commit and return its id: the same arguments give the same bytes, hence the same id, for ever.

        `author_time` is in seconds since 1970. Raises `ValueError` as `objects.commit_bytes` does.
        """
        await self._require(tree, *parents)
        return await self._store_commit(tree, parents, message, author_time, trailers)

    async def tree_of(self, commit: str) -> str:
        """The tree of a commit; a tree is its own."""
        return self._stored_tree(commit) or (await self.run("rev-parse", "--verify", f"{commit}^{{tree}}")).line

    async def parent(self, commit: str) -> str:
        """The first parent of a commit of this repository. Raises `GitFailed` if there is none."""
        return (await self.run("rev-parse", "--verify", f"{objects.checked_id(commit)}^1")).line

    async def unpack(self, pack: bytes) -> None:
        """Take the objects of a git pack in. Raises `GitFailed` for what is damaged, or refers to what is not here."""
        await self.run("unpack-objects", "-q", "--strict", stdin=pack)

    async def merge(self, base: str, ours: str, theirs: str) -> str | Conflict:
        """The tree that has the changes from `base` to `ours` and those from `base` to `theirs`, or why there is none.

        Each is a commit or a tree. Only their trees count: the merge is done between three commits made for it, with
        `base` as the parent of the other two, because git before 2.40 cannot be told the merge base.
        """
        if base == ours or ours == theirs:
            return await self.tree_of(theirs)
        if base == theirs:
            return await self.tree_of(ours)
        trees = [await self.tree_of(side) for side in (base, ours, theirs)]
        if trees[0] == trees[1] or trees[1] == trees[2]:
            return trees[2]
        if trees[0] == trees[2]:
            return trees[1]
        root = await self._store_commit(trees[0], (), "base", 0, {}, durable=False)
        left = await self._store_commit(trees[1], (root,), "ours", 0, {}, durable=False)
        right = await self._store_commit(trees[2], (root,), "theirs", 0, {}, durable=False)
        output = await self.run(
            "merge-tree", "--write-tree", "-z", "--name-only", "--messages", left, right, accept=(0, 1)
        )
        return output.fields[0] if output.code == 0 else read_conflict(output.fields)

    async def export(self, tree_or_commit: str, path: Path) -> None:
        """Create the folder `path` with exactly these files and no `.git`. Raises `FileExistsError` if it exists."""
        new_folder(path)
        with tempfile.TemporaryDirectory(prefix="export-", dir=self.scratch) as folder:
            await self.check_out(tree_or_commit, path, Path(folder) / "index")

    async def check_out(self, tree_or_commit: str, path: Path, index: Path) -> None:
        """Put the files into the empty folder `path`, and what git knows about them into `index`: none, no index."""
        if self._stored_tree(tree_or_commit) != objects.EMPTY_TREE:
            await self.run("read-tree", "--reset", "-u", tree_or_commit, work_tree=path, index=index)

    async def file(self, tree: str, path: str) -> bytes | None:
        """The bytes of a regular file in a tree; None if there is no such file, or if it is a link or a folder."""
        listed = (await self.run("ls-tree", "-z", objects.checked_id(tree), "--", path)).stdout.split(b"\0")[0]
        head, _, name = listed.partition(b"\t")
        mode, _, rest = head.decode("ascii").partition(" ")
        if os.fsdecode(name) != path or not mode.startswith("100"):
            return None
        return (await self.run("cat-file", "blob", rest.split(" ")[1])).stdout

    async def content(self, commit: str, path: str) -> bytes | None:
        """The bytes of a file in a commit, or the target of a link; None for a submodule."""
        listed = (await self.run("ls-tree", "-z", "--full-tree", objects.checked_id(commit), "--", path)).stdout
        oid = listed.partition(b"\t")[0].decode("ascii").rpartition(" ")[2]
        return None if listed.startswith(b"160000") else (await self.run("cat-file", "blob", oid)).stdout

    async def with_files(self, tree: str, files: Mapping[str, bytes]) -> str:
        """The tree with regular files put in the place of whatever was at their paths; modes of files stay."""
        index = self.scratch / f"{secrets.token_hex(8)}.index"
        try:
            await self.run("read-tree", objects.checked_id(tree), index=index)
            entries = []
            for path, content in files.items():
                oid = await asyncio.to_thread(
                    objects.write_object, self.objects_dir, "blob", content, durable=self.durable
                )
                listed = (await self.run("ls-tree", tree, "--", path)).stdout
                mode = "100755" if listed.startswith(b"100755") else "100644"
                entries.append(f"{mode} {oid}\t".encode() + os.fsencode(path))
            await self.run("update-index", "-z", "--index-info", index=index, stdin=b"\0".join(entries) + b"\0")
            return (await self.run("write-tree", index=index)).line
        finally:
            index.unlink(missing_ok=True)

    async def set_branch(self, name: str, commit: str, found: str | None = None) -> bool:
        """Make the branch point to a commit of this repository if it still points to what was found there.

        False: it has moved meanwhile. ``found`` is what `branch` gave; None where there is no branch yet.
        """
        await self._require(commit)
        ref = f"refs/heads/{name}"

        async def move(flock: int) -> bool:
            try:
                await self.run("update-ref", "--no-deref", ref, commit, found or "0" * len(commit), keep_open=(flock,))
            except git.GitFailed as failed:
                if _MOVED.search(failed.stderr) and await self.branch(name) != found:
                    return False
                raise
            return True

        guard = self.scratch / "update-ref.flock"
        try:
            return await write_patiently(guard, move)
        except git.GitFailed as failed:
            if found is not None or "reference broken" not in failed.stderr:
                raise
            (self.git_dir / ref).unlink(missing_ok=True)  # what a power cut left; the log knows better
            return await write_patiently(guard, move)

    async def branch(self, name: str) -> str | None:
        """The commit that a branch points to, or None when there is no such branch."""
        loose = self._loose(f"refs/heads/{name}")
        if loose is not None:
            return loose
        output = await self.run("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", accept=(0, 1))
        return output.line or None

    def _loose(self, ref: str) -> str | None:
        """A ref that has a file of its own, as almost all have: a process less."""
        if ".." in ref:
            return None
        try:
            said = (self.git_dir / ref).read_text("ascii").removesuffix("\n")
        except (OSError, ValueError):
            return None
        return said if _ID.fullmatch(said) else None

    async def changed_files(self, a: str, b: str) -> list[Change]:
        """What differs from `a` to `b`, two commits or trees, in the order of paths."""
        options = ("-r", "-z", "--raw", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-abbrev")
        ids = (objects.checked_id(a), objects.checked_id(b))
        return read_changes((await self.run("diff-tree", *options, *ids)).fields)

    async def run(
        self,
        *arguments: str,
        work_tree: Path | None = None,
        index: Path | None = None,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
        accept: Container[int] = (0,),
        keep_open: Sequence[int] = (),
        time_limit: float = git.TIME_LIMIT,
    ) -> git.Output:
        """Run any git command that changes no ref on this repository, as `git.run` does."""
        return await git.run(
            *arguments,
            git_dir=self.git_dir,
            work_tree=work_tree,
            index=index,
            stdin=stdin,
            settings=_DURABLE if self.durable else _FAST,
            environment=environment,
            accept=accept,
            keep_open=keep_open,
            time_limit=time_limit,
        )

    async def _resolve(self, ref: str) -> str:
        """The commit of a fetched ref, which is also kept outside its pack, to be read and found without a process."""
        output = await self.run("cat-file", "--batch", stdin=f"{ref}^{{commit}}".encode("ascii"))
        head, _, rest = output.stdout.partition(b"\n")
        match head.decode("utf-8", "replace").split(" "):
            case [oid, "commit", size]:
                body = rest[: int(size)]
                await asyncio.to_thread(objects.write_object, self.objects_dir, "commit", body, durable=False)
                return oid
        raise git.GitFailed(["git", "cat-file"], output.code, head.decode("utf-8", "replace"), "Name a commit.")

    async def _write_refs(
        self, *arguments: str, environment: Mapping[str, str] | None = None, time_limit: float = git.TIME_LIMIT
    ) -> git.Output:
        return await write_patiently(
            self.scratch / f"{arguments[0]}.flock",
            lambda flock: self.run(*arguments, environment=environment, keep_open=(flock,), time_limit=time_limit),
        )

    async def _store_commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author_time: int,
        trailers: Mapping[str, str],
        *,
        durable: bool = True,
    ) -> str:
        body = objects.commit_bytes(tree, parents=parents, message=message, author_time=author_time, trailers=trailers)
        return await asyncio.to_thread(
            objects.write_object, self.objects_dir, "commit", body, durable=durable and self.durable
        )

    def _stored_tree(self, commit: str) -> str | None:
        """The tree of a commit (or a tree) that is not in a pack, otherwise None."""
        match objects.read_loose(self.objects_dir, objects.checked_id(commit)):
            case "commit", body:
                return body[5:45].decode("ascii")
            case "tree", _:
                return commit
        return None

    async def _require(self, *ids: str) -> None:
        """Raise `GitFailed` unless all these objects are here; git is asked only about those in packs."""
        unseen = [oid for oid in ids if not objects.loose_path(self.objects_dir, objects.checked_id(oid)).exists()]
        if unseen:
            output = await self.run("cat-file", "--batch-check", stdin="\n".join(unseen).encode("ascii"))
            missing = [line for line in output.stdout.decode("ascii").splitlines() if line.endswith(" missing")]
            if missing:
                remedy = "Fetch it, or bring it with a bundle, before it is used."
                raise git.GitFailed(["git", "cat-file"], output.code, "\n".join(missing), remedy)

    def _create(self) -> None:
        """Build the repository beside its place and rename it there; the first of several wins."""
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.root, ignore_cleanup_errors=True) as folder:
            new = Path(folder) / "repository"
            for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "nightshift"):
                (new / name).mkdir(parents=True)
            (new / "config").write_text(_CONFIG)
            (new / "nightshift/fetch.config").write_text(_TRUSTING)
            (new / "HEAD").write_text("ref: refs/heads/main\n")
            try:
                new.rename(self.git_dir)
            except OSError:
                if not (self.git_dir / "HEAD").exists():
                    raise
        if self.durable:
            objects.sync_folder(self.root)


@functools.lru_cache(maxsize=64)
def _resolved(root: Path) -> Path:
    """Every step of every task opens a repository, and folders do not become links meanwhile."""
    return root.resolve()


def new_folder(path: Path) -> None:
    """Create `path` and the folders above it; raises `FileExistsError` when there is something at `path`."""
    try:
        path.mkdir()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()


def _address(source: str) -> str:
    """What to give to git for a folder (made absolute) or a URL; never something git would run as a program."""
    if Path(source).exists():
        return str(Path(source).resolve())
    if re.match(r"(https?|ssh|git|file)://", source) or re.match(r"[\w.][\w.@-]*:(?!:)", source):
        return source
    raise ValueError(f"{source!r} is neither an existing folder nor the URL of a repository")
