"""Git tricks in the workspace, at the weakest level: the engine's own git calls fall for none of them."""

import os
from pathlib import Path

from services.sandbox.process import ProcessSandbox
from services.workspace import Repository, Workspace
from tests.sandboxes import run

BINARY = bytes(range(256)) * 4
TRICKS = r"""
set -e
run="sh -c 'echo pwned >> $OUT; cat'"
for name in pre-commit post-commit post-checkout post-index-change reference-transaction pre-push fsmonitor-watchman; do
  printf '#!/bin/sh\necho pwned >> %s\n' "$OUT" > .git/hooks/$name
  chmod +x .git/hooks/$name
done
git config core.fsmonitor "$PWD/.git/hooks/fsmonitor-watchman"
git config core.hooksPath "$PWD/.git/hooks"
git config core.sshCommand "$run"
git config core.pager "$run"
git config core.editor "$run"
git config diff.external "$run"
git config diff.evil.textconv "$run"
git config diff.evil.command "$run"
git config filter.evil.clean "$run"
git config filter.evil.smudge "$run"
git config filter.evil.process "$run"
git config filter.evil.required true
git config merge.evil.driver "$run"
git config gpg.program "$run"
git config commit.gpgSign true
cp .git/config "$HOME/.gitconfig"
printf '* filter=evil diff=evil merge=evil\n' > .gitattributes
mkdir -p sub && cp -r .git sub/.git
cp "$PROGRAM" git && chmod +x git
rm -f .git/index && ln -s "$OUT.index" .git/index
"""
STRANGER = """
export GIT_AUTHOR_NAME=Somebody GIT_AUTHOR_EMAIL=ceo@example.org GIT_COMMITTER_NAME=Somebody GIT_COMMITTER_EMAIL=x@y
echo 1 > a && git add a && git commit -qm 'Signed off by the boss' --author 'Boss <boss@example.org>'
"""


async def in_workspace(workspace: Workspace, script: str, folder: Path) -> None:
    sandbox = ProcessSandbox()
    try:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        program = folder / "program"
        program.write_text(f"#!/bin/sh\necho pwned >> {folder}/out\n")
        env = {"PATH": os.defpath, "OUT": str(folder / "out"), "HOME": str(home), "PROGRAM": str(program)}
        ended, output = await run(sandbox, "/bin/sh", "-c", script, cwd=workspace.path, env=env)
        assert ended.exit_code == 0, output
    finally:
        await sandbox.close()


async def test_nothing_of_the_workspaces_configuration_is_ever_run(tmp_path: Path) -> None:
    repository = Repository.open(tmp_path / "repos", name="r")
    base = await repository.empty_commit()
    workspace = await Workspace.create(repository, tmp_path / "repos" / "work", base)
    await in_workspace(workspace, TRICKS, tmp_path)
    (workspace.path / "picture.bin").write_bytes(BINARY)
    tree = await workspace.snapshot()
    commit = await repository.commit(tree, parents=[base], message="m", author_time=0, trailers={})
    await repository.set_branch("nightshift/x", commit)
    changes = {change.path: change for change in await repository.changed_files(base, commit)}
    assert (changes["picture.bin"].status, changes["picture.bin"].added) == ("A", None)
    assert await repository.file(tree, "picture.bin") == BINARY
    other = await repository.commit(
        await repository.with_files(await repository.tree_of(base), {"b": b"2"}), parents=[base], message="o",
        author_time=0, trailers={},
    )  # fmt: skip
    merged = await repository.merge(base, other, commit)
    assert isinstance(merged, str)
    judged = await Workspace.create(repository, tmp_path / "repos" / "judge", commit)
    assert (judged.path / "picture.bin").read_bytes() == BINARY
    await repository.export(merged, tmp_path / "repos" / "exported")
    assert not (tmp_path / "out").exists(), "somebody has run what the workspace's configuration names"


async def test_a_commit_with_someone_elses_name_is_not_ours(tmp_path: Path) -> None:
    repository = Repository.open(tmp_path / "repos", name="r")
    base = await repository.empty_commit()
    workspace = await Workspace.create(repository, tmp_path / "repos" / "work", base)
    await in_workspace(workspace, STRANGER, tmp_path)
    tree = await workspace.snapshot()
    commit = await repository.commit(tree, parents=[base], message="m", author_time=0, trailers={})
    shown = await repository.run("log", "--format=%an %ae %cn %ce %s", commit)
    assert await repository.file(tree, "a") == b"1\n"
    assert "oss" not in shown.stdout.decode()
    assert "Somebody" not in shown.stdout.decode()
