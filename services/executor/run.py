"""Running one attempt: workspace, command, output, checkpoint. What it all means is decided elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from events.branch import BranchCreated
from events.fold import ExecutionFold, TaskFold
from events.lineage import start_commit
from events.log import EventLog, LogUnavailable
from events.task import Artifact, AttemptFailed, AttemptTimedOut, TaskExecuted, Usage
from schemas.names import encode
from services.branches import Confirm, repository_of
from services.executor.beside import Beside
from services.executor.decide import (
    Outcome,
    checkpoint_of,
    conclude,
    context,
    needs_workspace,
    program,
    prompt,
    words,
)
from services.executor.disk import Disk
from services.executor.tokens import tokens_of
from services.sandbox import Command, Sandbox, StartFailed
from services.sandbox.capture import Capture
from services.sandbox.terms import GrantRefused, check_grants, terms, widened
from services.secrets.grants import Opened, Screened, SecretFound, SecretProblem, Secrets
from services.workspace import GitFailed, Repository, Unrecordable, Workspace
from services.workspace.kept import Kept, TooMuch
from services.workspace.removal import remove_folder

log = logging.getLogger(__name__)

LIVE_OUTPUT = 4 * 1024 * 1024
"""Bytes of an attempt's output that go to the live tail; the artifact keeps more."""
LIVE_CHUNK = 32 * 1024
LIVE_PAUSE = 0.1
TAIL = 2000
"""Characters of the output's end that stand in the event."""

CreateBranch = Callable[[ExecutionFold, BranchCreated, str], Awaitable[None]]
Tell = Callable[[ExecutionFold, TaskFold, str, object], Awaitable[None]]
"""Says something about the attempt with this lease, which goes on."""


class LiveOutput:
    """The part of an attempt's output that people watch: bundled, bounded, and never in the way of the task."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._waiting = bytearray()
        self._sent = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run())

    def add(self, chunk: bytes) -> None:
        """Take a chunk; what is beyond the bound is left to the artifact."""
        room = LIVE_OUTPUT - self._sent - len(self._waiting)
        if room <= 0:
            return
        self._waiting += chunk[:room]
        if len(chunk) >= room:
            self._waiting += b"\n[nightshift: the live output ends here; the whole is kept as an artifact]\n"
        self._wake.set()

    async def close(self) -> None:
        """Send what is left."""
        self._closed = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._closed:
                await asyncio.sleep(LIVE_PAUSE)
            self._wake.clear()
            while self._waiting:
                chunk = bytes(self._waiting[:LIVE_CHUNK])
                del self._waiting[:LIVE_CHUNK]
                self._sent += len(chunk)
                try:
                    await self._send(chunk)
                except (LogUnavailable, TimeoutError) as error:
                    log.warning("a piece of live output is lost: %s", error)
            if self._closed:
                return


class Runner:
    """Runs attempts of tasks in workspaces below ``home``."""

    def __init__(
        self,
        log: EventLog,
        home: Path,
        passed: dict[str, str],
        tell: Tell,
        disk: Disk | None,
        secrets: Secrets | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.log = log
        self.home = home
        self.passed = passed
        """Variables of the engine's own environment that tasks may see."""
        self.secrets = Secrets(home) if secrets is None else secrets
        self.tell = tell
        self.disk = disk
        self.kept = kept
        """Keeps the files of attempts that went wrong; None: they go at once."""

    async def run(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        lease: str,
        stop: asyncio.Event,
        create_branch: CreateBranch,
        confirm: Confirm,
        sandbox: Sandbox | None,
    ) -> Outcome:
        """One attempt. Everything that can go wrong with it becomes part of the outcome."""
        nothing = Usage(seconds=0.0)
        if not needs_workspace(task.spec):
            return Outcome(exit_code=0, usage=nothing)
        assert fold.plan is not None
        try:
            secrets = await self.secrets.open(fold.tenant, fold.plan)
            secrets.for_task(fold.plan, task.spec)
        except SecretProblem as error:
            return Outcome(error=str(error), usage=nothing, retryable=False)
        place = f"{encode(task.spec.id)}.{task.attempt}.{lease[:8]}"
        folder = self.home / "work" / fold.tenant / fold.id / place
        workspace: Workspace | None = None
        try:
            repository = await repository_of(
                self.home / "repos", fold, lambda fact: create_branch(fold, fact, lease), confirm
            )
            commit = start_commit(fold, task)
            assert commit is not None
            folder.mkdir(mode=0o700, parents=True)  # what a task makes set-user-id is out of others' reach
            begin = await self._begin(repository, fold, task, commit)
            workspace = await Workspace.create(repository, folder / "files", begin, root=self.home)
            if not task.spec.run and not task.spec.agent:
                return Outcome(exit_code=0, usage=nothing, base=commit)
            assert sandbox is not None
            await confirm()
            if stop.is_set():
                return Outcome(error="it was stopped before it began", usage=nothing)
            outcome = await self._command(fold, task, lease, stop, folder, workspace, commit, secrets, sandbox)
            if outcome.exit_code == 0 and not outcome.timed_out and not outcome.error:
                outcome = await self._checkpoint(fold, task, workspace, commit, outcome, secrets)
            failed = not isinstance(self.conclude(fold, task, task.attempt, lease, outcome), TaskExecuted)
            if failed and not stop.is_set():
                await self._keep_files(fold, task, lease, folder, commit, secrets)
            return outcome
        except GrantRefused as error:
            return Outcome(error=str(error), retryable=False, usage=nothing)
        except StartFailed as error:
            return Outcome(error=f"it could not be started: {error}", usage=nothing)
        except (GitFailed, Unrecordable, OSError, ValueError) as error:
            return Outcome(error=f"the workspace: {error}", usage=nothing)
        finally:
            try:
                if workspace is not None:
                    await workspace.remove(folder)
                else:
                    await asyncio.to_thread(remove_folder, folder)
            except OSError as error:
                log.warning("the workspace %s stays behind: %s", folder, error)

    async def _keep_files(
        self, fold: ExecutionFold, task: TaskFold, lease: str, folder: Path, base: str, secrets: Opened
    ) -> None:
        """Keep what the attempt left for a person to look at. It is no part of the result, so nothing depends on it."""
        if self.kept is None:
            return
        about = {
            "tenant": fold.tenant, "execution": fold.id, "task": task.spec.id, "attempt": task.attempt, "lease": lease,
            "base": base,
        }  # fmt: skip
        refuse = secrets.refusal if secrets.redactor else None
        try:
            await asyncio.to_thread(self.kept.keep, folder, about, refuse)
        except (OSError, ValueError, TooMuch) as error:
            log.warning("the files of attempt %s of task %s are not kept: %s", task.attempt, task.spec.id, error)

    async def _begin(self, repository: Repository, fold: ExecutionFold, task: TaskFold, base: str) -> str:
        """What the workspace begins with: the base, or what this attempt had done when it was interrupted."""
        found = checkpoint_of(fold, task, base)
        if found is None:
            return base
        try:
            await repository.tree_of(found)
        except GitFailed as error:  # it was made on another host
            log.info("task %s starts from its base again: the checkpoint is not here: %s", task.spec.id, error)
            return base
        return found

    async def _command(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        lease: str,
        stop: asyncio.Event,
        folder: Path,
        place: Workspace,
        base: str,
        secrets: Opened,
        sandbox: Sandbox,
    ) -> Outcome:
        assert fold.plan is not None
        workspace = place.path
        spec, policy = task.spec, fold.plan.policy
        limit = spec.timeout or policy.timeout
        context_file = folder / "context.json"
        told = json.dumps(context(fold, task, lease) | {"resumed": place.commit != base}, indent=2, ensure_ascii=False)
        context_file.write_text(secrets.redactor.text(told))
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        env = self._environment(fold, task, lease, folder, workspace, context_file)
        limits, access = terms(policy.isolation, spec.isolation, self.home)
        read = (context_file, place.repository.objects_dir, *self._agent_files(fold, task, workspace))
        command = Command(
            argv=("/bin/sh", "-c", self._shell_line(fold, task, workspace)),
            cwd=workspace,
            env=env | secrets.for_task(fold.plan, spec),
            stdin=prompt(fold, task).encode() if spec.agent else b"",
            wall_seconds=limit,
            grace_seconds=policy.grace,
            limits=limits,
            access=widened(access, read=read, write=(workspace, folder / "home", folder / "tmp")),
        )
        capture = Capture(folder / "output")
        live = LiveOutput(lambda chunk: self.log.write_output(fold.tenant, fold.id, spec.id, task.attempt, chunk))

        beside = Beside(
            fold, task, lease, command, folder=folder, workspace=place, base=base, disk=self.disk, look=secrets.look,
            commit=lambda tree: self._commit(fold, task, place.repository, tree, base),
            tell=lambda fact: self.tell(fold, task, lease, fact),
        )  # fmt: skip

        async def take(chunk: bytes) -> None:
            capture.write(chunk)
            live.add(chunk)
            beside.take(chunk)

        screened = Screened(secrets.redactor, take)
        place.settle()
        try:
            running = await sandbox.start(command, screened.take)
            ending = asyncio.create_task(running.wait())
            beside.begin(running)
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await running.kill(0)  # before its files go
                await ending
                raise
            finally:
                stopping.cancel()
                await beside.end()
            if not ending.done():
                await running.kill(min(policy.grace, 3.0))
            ended = await ending
            await screened.close()
        finally:
            await live.close()
        kept = capture.finish()
        output = None
        said = kept.read()
        if kept.size:
            sha256 = await self._keep(f"artifacts-{fold.tenant}", said)
            output = Artifact(sha256=sha256, size=kept.size, total=kept.total_bytes)
        usage = Usage(
            seconds=ended.wall_seconds, cpu_seconds=ended.cpu_seconds, max_rss=ended.max_rss_bytes,
            peak_memory=ended.peak_memory_bytes, tokens=tokens_of(said) if spec.agent else None,
        )  # fmt: skip
        outcome = Outcome(
            exit_code=ended.exit_code, signal=ended.signal, timed_out=ended.timed_out, error=ended.error,
            usage=usage, output=output, tail=kept.tail(TAIL),
            out_of_memory=limits.tree_memory_bytes if ended.out_of_memory else None,
        )  # fmt: skip
        if stop.is_set():
            outcome = replace(outcome, commit=await beside.interrupted())
        return beside.judge(ended, outcome)

    async def _keep(self, bucket: str, data: bytes) -> str:
        """Store an artifact, however long that takes: a finished result is not thrown away (hazard H22)."""
        pause = 0.2
        while True:
            try:
                return await self.log.put_blob(bucket, data)
            except (LogUnavailable, TimeoutError) as error:
                log.warning("an artifact waits for the object store: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    def _agent_files(self, fold: ExecutionFold, task: TaskFold, workspace: Path) -> tuple[Path, ...]:
        """The files that the agent's command line names: the task must be able to read them. Raises GrantRefused."""
        assert fold.plan is not None
        agent, base = task.spec.agent, fold.plan.base
        if not agent:
            return ()
        files = [path for word in words(agent) if (path := Path(word)).is_absolute() and path.is_file()]
        beside = program(agent)
        if beside and base and not (workspace / beside).exists():
            files.append(Path(base) / beside)
        check_grants(files, self.home)
        return tuple(files)

    def _shell_line(self, fold: ExecutionFold, task: TaskFold, workspace: Path) -> str:
        spec = task.spec
        if spec.run:
            return spec.run
        assert spec.agent is not None
        assert fold.plan is not None
        path = program(spec.agent)
        if path and fold.plan.base and not (workspace / path).exists():
            beside = Path(fold.plan.base) / path
            if beside.is_file():
                return f'"$NIGHTSHIFT_AGENT"{spec.agent.strip()[len(path) :]}'
        return spec.agent

    def _environment(
        self, fold: ExecutionFold, task: TaskFold, lease: str, folder: Path, workspace: Path, context_file: Path
    ) -> dict[str, str]:
        """A clean environment: what is declared, and nothing of the engine's own but PATH and the language."""
        assert fold.plan is not None
        spec = task.spec
        environment = {
            **self.passed,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            **fold.plan.env,
            **spec.env,
            "NIGHTSHIFT_EXECUTION": fold.id,
            "NIGHTSHIFT_TENANT": fold.tenant,
            "NIGHTSHIFT_TASK": spec.id,
            "NIGHTSHIFT_TITLE": spec.title,
            "NIGHTSHIFT_ATTEMPT": str(task.attempt),
            "NIGHTSHIFT_LEASE": lease,
            "NIGHTSHIFT_WORKSPACE": str(workspace),
            "NIGHTSHIFT_CONTEXT": str(context_file),
            "NIGHTSHIFT_CONTEXT_TIER": str(spec.context_tier),
        }
        if fold.plan.conversation_id:
            environment["NIGHTSHIFT_CONVERSATION"] = fold.plan.conversation_id
        path = program(spec.agent) if spec.agent else None
        if path and fold.plan.base:
            environment["NIGHTSHIFT_AGENT"] = str(Path(fold.plan.base) / path)
        return environment

    async def _checkpoint(
        self, fold: ExecutionFold, task: TaskFold, workspace: Workspace, base: str, outcome: Outcome, secrets: Opened
    ) -> Outcome:
        """Commit what the attempt left behind, on top of where it started; not if there is a secret in it."""
        repository = workspace.repository
        try:
            tree = await workspace.snapshot(force=task.spec.outputs, look=secrets.look)
        except SecretFound as error:
            return replace(outcome, error=str(error))
        commit = None
        if tree != await repository.tree_of(base):
            commit = await self._commit(fold, task, repository, tree, base)
        return replace(outcome, base=base, commit=commit, tree=tree)

    @staticmethod
    async def _commit(fold: ExecutionFold, task: TaskFold, repository: Repository, tree: str, base: str) -> str:
        return await repository.commit(
            tree,
            parents=[base],
            message=f"{task.spec.id}: attempt {task.attempt}",
            author_time=fold.now_ns // 1_000_000_000,
            trailers={"Nightshift-Execution": fold.id, "Nightshift-Task": task.spec.id},
        )

    @staticmethod
    def conclude(
        fold: ExecutionFold, task: TaskFold, attempt: int, lease: str, outcome: Outcome
    ) -> TaskExecuted | AttemptFailed | AttemptTimedOut:
        """The fact that an outcome amounts to."""
        assert fold.plan is not None
        return conclude(attempt, lease, task.spec.timeout or fold.plan.policy.timeout, outcome)
