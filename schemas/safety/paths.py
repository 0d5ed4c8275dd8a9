"""Which paths belong to what, as globs of schemas/safety/globs.py: data, one ecosystem a line."""

from __future__ import annotations

DEPENDENCIES = (
    "requirements*.txt", "requirements*.in", "requirements/", "constraints*.txt", "pyproject.toml", "setup.py",
    "setup.cfg", "Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock", "pdm.lock", "environment.yml", "environment.yaml",
    "package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "pnpm-workspace.yaml",
    "bun.lock", "bun.lockb", "deno.json", "deno.lock", ".npmrc", ".yarnrc", ".yarnrc.yml",
    "Cargo.toml", "Cargo.lock",
    "go.mod", "go.sum", "go.work", "go.work.sum",
    "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle.lockfile",
    "libs.versions.toml", "ivy.xml", "build.sbt", "deps.edn", "project.clj",
    "Gemfile", "Gemfile.lock", "*.gemspec", "composer.json", "composer.lock", "mix.exs", "mix.lock", "rebar.config",
    "*.csproj", "*.fsproj", "*.vbproj", "packages.config", "packages.lock.json", "Directory.Packages.props",
    "Package.swift", "Package.resolved", "Podfile", "Podfile.lock", "Cartfile", "pubspec.yaml", "pubspec.lock",
    "conanfile.txt", "conanfile.py", "vcpkg.json", "*.cabal", "stack.yaml", "cabal.project", "dune-project", "*.opam",
    "cpanfile", "DESCRIPTION", "renv.lock", "Project.toml", "Manifest.toml", "flake.nix", "flake.lock", "MODULE.bazel",
)  # fmt: skip

CI = (
    ".github/workflows/", ".github/actions/", ".github/dependabot.yml", ".gitlab-ci.yml", ".gitlab/", ".circleci/",
    ".travis.yml", "appveyor.yml", ".appveyor.yml", "azure-pipelines*.yml", ".azure-pipelines/", "Jenkinsfile*",
    "bitbucket-pipelines.yml", ".buildkite/", ".drone.yml", ".woodpecker.yml", ".woodpecker/", ".teamcity/",
    "cloudbuild.yaml", "buildspec.yml", ".cirrus.yml", ".semaphore/", ".forgejo/workflows/", ".gitea/workflows/",
    ".pre-commit-config.yaml", ".husky/", "codemagic.yaml", "wercker.yml", ".ci/",
)  # fmt: skip

SECRETS = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "id_rsa", "id_dsa",
    "id_ecdsa", "id_ed25519", ".netrc", ".pypirc", ".htpasswd", ".pgpass", ".git-credentials", "credentials.json",
    "service-account*.json", "secrets.yml", "secrets.yaml", "secrets.json", ".aws/credentials", ".docker/config.json",
    "*.kdbx", "*.tfvars",
)  # fmt: skip
SECRET_SAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist", "*.pub", "*.example", "*.sample")
"""Not secret although their name looks so."""

PRODUCTION = (
    "docker-compose*.yml", "docker-compose*.yaml", "compose*.yml", "compose*.yaml", "Dockerfile*", "*.tf", "*.tofu",
    "k8s/", "kubernetes/", "helm/", "charts/", "deploy/", "deployment/", "ansible/", "terraform/", "Procfile",
    "fly.toml", "vercel.json", "netlify.toml", "app.yaml", "serverless.yml", "serverless.yaml", "render.yaml",
    "wrangler.toml", "nginx*.conf", "*.service", "config/production*", "settings/production*", "production.*",
    "*.production.*", "*.prod.*",
)  # fmt: skip

MIGRATIONS = (
    "migrations/", "migration/", "alembic/versions/", "db/migrate/", "flyway/", "liquibase/", "schema.sql",
    "schema.prisma", "schema.rb", "structure.sql",
)  # fmt: skip

SECURITY = (
    "auth/", "authentication/", "authorization/", "security/", "auth.*", "*_auth.*", "auth_*.*", "oauth*.*", "login*.*",
    "permissions.*", "crypto/", "crypto.*", "password*.*",
)  # fmt: skip

APPROVED = ("/src/", "/tests/", "/docs/", "README*", "CHANGELOG*")
"""The folders of the founding document, and the two files it lets a task edit (C17)."""

TESTS = (
    "tests/", "test/", "__tests__/", "spec/", "specs/", "e2e/", "testdata/", "fixtures/", "__snapshots__/",
    "test_*.*", "*_test.*", "*.test.*", "*.spec.*", "*Test.java", "*Tests.java", "*Test.kt", "*Tests.cs", "*_spec.rb",
    "*Test.php", "conftest.py", "*.snap",
)  # fmt: skip
DOCUMENTS = ("docs/", "doc/", "*.md", "*.rst", "*.adoc", "LICENSE*", "AUTHORS*")

PROTECTED_BRANCHES = ("main", "master", "trunk", "develop", "production", "release", "release/*", "releases/*")
