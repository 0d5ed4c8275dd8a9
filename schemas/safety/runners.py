"""What steers the programs that judge: test runners and build tools by ecosystem, as data.

Files that programs load or obey change what these do by merely being there, so new ones count as well.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Ecosystem:
    """Programs that belong together, and the files they obey."""

    name: str
    programs: tuple[str, ...]
    """Every program of it, by name."""
    testers: tuple[str, ...] = ()
    """Those that run tests, as the first words of a command."""
    loaded: tuple[str, ...] = ()
    """Globs of files that all its programs load."""
    config: tuple[str, ...] = ()
    """Globs of files that those which run tests, build or check obey."""
    languages: tuple[str, ...] = ()
    """Endings of the files that its programs load."""
    hooks: tuple[str, ...] = ()
    """Regular expressions: an added line with one reaches into the runner, in tests as elsewhere."""
    hooks_in_code: tuple[str, ...] = ()
    """The same, but tests may do it."""


_IMPORTED_BY_PYTEST = (
    "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "coverage", "hypothesis", "xdist", "attr",
    "pytest_asyncio", "pytest_cov", "nose", "nose2", "mock",
)  # fmt: skip

PYTHON = Ecosystem(
    name="python",
    programs=("python", "python3", "pytest", "py.test", "tox", "nox", "unittest", "coverage", "nose2", "behave", "ward",
              "hatch", "poetry", "uv", "pdm", "pipenv"),
    testers=("pytest", "py.test", "tox", "nox", "unittest", "coverage", "nose2", "behave", "hatch test", "hatch run",
             "ward", "doctest"),
    config=("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg",
            "noxfile.py", ".coveragerc", "*.egg-info/", "*.dist-info/", "pytest_plugins.py", "features/environment.py"),
    loaded=("sitecustomize.py", "usercustomize.py", "sitecustomize/", "usercustomize/", "*.pth", "*.pyc", "*.pyd",
            "site-packages/", ".venv/", "venv/", "pyvenv.cfg"),
    languages=(".py", ".pyi"),
    hooks=(r"\bos\._exit\b", r"\bpytest\.exit\b", r"\bdef\s+pytest_(?!asyncio)", r"\bpytest_plugins\b",
           r"\bsys\.(?:meta_path|path_hooks|settrace)\b", r"\bbuiltins\.__import__\b",
           r"\bunittest\.(?:TestResult|TextTestRunner|TestLoader)\b"),
    hooks_in_code=(r"^\s*(?:import|from)\s+_?pytest\b", r"\bpytest\.(?:skip|xfail)\b", r"\bsys\.modules\s*\[",
                   r"\batexit\.register\b", r"\bunittest\.(?:case|TestCase|main)\b"),
)  # fmt: skip
SHADOWS = frozenset({*sys.stdlib_module_names, *_IMPORTED_BY_PYTEST}) - {"test", "this", "antigravity"}
"""A module of one of these names beside the tests is imported in the place of the real one."""

NODE = Ecosystem(
    name="node",
    programs=("node", "npm", "npx", "yarn", "pnpm", "bun", "bunx", "deno", "jest", "vitest", "mocha", "ava", "tap",
              "tsx", "ts-node", "playwright", "cypress", "karma", "c8", "nyc"),
    testers=("npm", "yarn", "pnpm", "bun test", "bun run", "deno test", "deno task", "jest", "vitest", "mocha", "ava",
             "tap", "node --test", "playwright", "cypress", "karma", "c8", "nyc", "react-scripts"),
    config=("jest.config.*", "jest.setup.*", "jest-*.js", "setupTests.*", "vitest.config.*", "vitest.setup.*",
            "vitest.workspace.*", "vite.config.*", ".mocharc*", "mocha.opts", "ava.config.*", ".taprc", "karma.conf.*",
            "playwright.config.*", "cypress.config.*", "babel.config.*", ".babelrc*", ".swcrc", "tsconfig*.json",
            "__mocks__/", ".npmrc", ".yarnrc*", ".yarn/", ".pnpmfile.cjs", ".nycrc*", "bunfig.toml", "deno.json*"),
    loaded=("node_modules/", ".pnp.*"),
    languages=(".js", ".ts", ".mjs", ".cjs", ".jsx", ".tsx", ".mts", ".cts"),
    hooks=(r"\bprocess\.reallyExit\b", r"\brequire\.cache\b",
           r"\b(?:globalThis|global)\.(?:expect|test|it|describe)\b"),
)  # fmt: skip
RUST = Ecosystem(
    name="rust", programs=("cargo", "rustc", "cross"),
    testers=("cargo test", "cargo nextest", "cargo llvm-cov", "cross test"),
    config=(".cargo/", "build.rs", "rust-toolchain*", "nextest.toml", ".config/nextest.toml"),
)  # fmt: skip
GO = Ecosystem(
    name="go", programs=("go", "gotestsum", "ginkgo", "richgo"),
    testers=("go test", "go vet", "gotestsum", "ginkgo", "richgo"),
    config=("vendor/", "go.work", "go.env"), languages=(".go",),
    hooks=(r"\bfunc\s+TestMain\b", r"\bsyscall\.Exit\b"),
)  # fmt: skip
JVM = Ecosystem(
    name="jvm", programs=("mvn", "mvnw", "gradle", "gradlew", "ant", "sbt", "bazel", "lein", "java", "kotlin"),
    testers=("mvn", "mvnw", "gradle", "gradlew", "ant", "sbt", "bazel", "lein"),
    config=("pom.xml", "*.gradle", "*.gradle.kts", "gradle.properties", "gradle/", ".mvn/", "mvnw*", "gradlew*",
            "build.xml", "build.sbt", "/project/", "BUILD", "BUILD.bazel", "WORKSPACE", "MODULE.bazel", ".bazelrc",
            "junit-platform.properties", "META-INF/services/"),
)  # fmt: skip
RUBY = Ecosystem(
    name="ruby", programs=("ruby", "rspec", "rake", "bundle", "rails", "minitest"),
    testers=("rspec", "rake", "rails test", "minitest", "ruby -Itest"),
    config=(".rspec", "spec_helper.rb", "rails_helper.rb", "test_helper.rb", "Rakefile", "*.rake", ".bundle/",
            "Gemfile"),
)  # fmt: skip
PHP = Ecosystem(
    name="php", programs=("php", "phpunit", "pest", "composer"), testers=("phpunit", "pest", "composer"),
    config=("phpunit.xml*", "Pest.php", "vendor/", "composer.json", "/tests/bootstrap.php"),
)  # fmt: skip
DOTNET = Ecosystem(
    name="dotnet", programs=("dotnet",), testers=("dotnet test",),
    config=("*.runsettings", "Directory.Build.*", "xunit.runner.json", "*.targets", "*.props", "nuget.config"),
)  # fmt: skip
MAKE = Ecosystem(
    name="make",
    programs=("make", "gmake", "just", "task", "ninja", "cmake", "ctest", "meson", "invoke", "inv", "doit", "rake",
              "mage", "earthly", "nx", "turbo"),
    testers=("make", "gmake", "just", "task", "ninja", "ctest", "meson test", "invoke", "inv", "doit", "mage",
             "earthly", "nx", "turbo"),
    config=("Makefile", "GNUmakefile", "makefile", "*.mk", "justfile", ".justfile", "Taskfile*", "CMakeLists.txt",
            "*.cmake", "CTestTestfile.cmake", "meson.build", "build.ninja", "/tasks.py", "dodo.py", "magefile.go",
            "Earthfile", "nx.json", "turbo.json", "configure"),
)  # fmt: skip
LINT = Ecosystem(
    name="lint",
    programs=(
        "ruff", "flake8", "pylint", "black", "isort", "mypy", "pyright", "pyflakes", "bandit", "eslint", "prettier",
        "tsc", "biome", "stylelint", "markdownlint", "shellcheck", "hadolint", "yamllint", "gofmt", "golangci-lint",
        "rustfmt", "clippy-driver", "rubocop", "codespell", "vulture", "pydocstyle", "ty", "basedpyright", "oxlint",
        "ktlint", "detekt", "checkstyle", "phpstan", "psalm", "php-cs-fixer",
    ),
    config=(
        "ruff.toml", ".ruff.toml", "mypy.ini", ".mypy.ini", ".flake8", "setup.cfg", "tox.ini", ".pylintrc", "pylintrc",
        ".isort.cfg", ".bandit", "pyrightconfig.json", ".eslintrc*", "eslint.config.*", ".eslintignore", ".prettierrc*",
        "prettier.config.*", ".prettierignore", "tsconfig*.json", "biome.json*", ".stylelintrc*", ".stylelintignore",
        ".markdownlint*", ".shellcheckrc", ".hadolint.yaml", ".yamllint*", ".golangci.*", "rustfmt.toml",
        ".rustfmt.toml", "clippy.toml", ".clippy.toml", ".rubocop*.yml", ".editorconfig", "detekt.yml",
        "checkstyle.xml", "phpstan.neon*", "psalm.xml", ".php-cs-fixer*", "node_modules/", ".venv/",
    ),
)  # fmt: skip

ECOSYSTEMS: tuple[Ecosystem, ...] = (PYTHON, NODE, RUST, GO, JVM, RUBY, PHP, DOTNET, MAKE, LINT)

SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "busybox")
INTERPRETERS = ("python", "python3", "node", "ruby", "perl", "php", "deno", "bun", "tsx", "ts-node", "Rscript", "lua")
"""Programs that run a program of the project's own."""
LOOKING = (
    "awk", "sed", "test", "[", "[[", "grep", "egrep", "fgrep", "rg", "ag", "ls", "wc", "stat", "file", "head", "tail",
    "cat", "find", "du", "jq", "yq", "tree", "cut", "sort", "uniq", "tr", "echo", "printf", "true", "false", "cd",
    "mkdir", "touch", "rm", "git", "compileall", "py_compile", "json.tool", "zipfile", "tarfile", "unzip", "tar",
    "sha256sum", "md5sum", "openssl", "xmllint", "cc", "gcc", "g++", "clang", "javac", "rustc", "pdoc",
    "mkdocs", "sphinx-build",
    "terraform", "kubectl", "docker", "helm", "hugo", "pandoc",
)  # fmt: skip
"""Programs that look at a result, as linters do: what they are given is the product, not the judge."""
COMPARERS = ("diff", "cmp", "comm", "colordiff", "sdiff")
"""Programs that hold a result against what is expected."""
GATE = (".ai-validation/",)
"""The project's own gate (VE-5): always a judge."""
