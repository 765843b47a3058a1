"""Files of a model on the Hugging Face hub: asked for once, so that a machine without a network says so at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError, ModelError, first_line, from_extra

_SECONDS = 10
"""For the first answer of the hub; its own client asks for most of a minute, file by file."""

_DATA = ("config.json", "preprocessor_config.json")
_SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


@contextmanager
def asked_once(repo: str, revision: str | None = None) -> Iterator[str | None]:
    """Ask the hub for a model; if it does not answer, files come from the cache alone inside the block.

    Yields why it did not answer, None if it did.

    Raises:
        InputError: it has no such model, or not for this user; huggingface_hub is not installed.
    """
    with from_extra("hf", "huggingface_hub"):
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    silent = None
    try:
        HfApi().model_info(repo, revision=revision, timeout=_SECONDS)
    except HFValidationError as error:
        raise InputError(f"{repo!r} is no name of a model on the hub; expected ORG/NAME") from error
    except RevisionNotFoundError as error:
        raise InputError(f"{repo} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no model {repo}, or it is private", hint="check the name, or log in with `hf auth login`"
        ) from error
    except Exception as error:  # the hub's own answers, and whatever the client raises without a network
        silent = first_line(error)
    settings: Any = constants
    before = settings.HF_HUB_OFFLINE
    try:
        settings.HF_HUB_OFFLINE = before or silent is not None
        yield silent
    finally:
        settings.HF_HUB_OFFLINE = before


def not_reached(repo: str, silent: str, files: str) -> ModelError:
    """The hub did not answer, and the cache has not all files."""
    return ModelError(
        f"{repo} could not be downloaded, and is not in the cache: {silent}",
        hint=f"download it elsewhere (hf download {repo} --local-dir FOLDER) and give {files}, or score random weights "
        "with --weights none",
    )


def fetch(repo: str, revision: str | None, *, weights: bool, trust: bool) -> Path:
    """The folder of a model's files, downloaded if need be: configuration, and weights if asked for.

    Raises:
        InputError: there is no such model.
        ModelError: the hub does not answer, and the files are not in the cache.
    """
    wanted: Sequence[str] = (*_DATA, *(_SAFETENSORS if weights else ()), *(_PICKLES if weights and trust else ()))
    with asked_once(repo, revision) as silent:
        from huggingface_hub import snapshot_download

        try:
            found = snapshot_download(
                repo, revision=revision, allow_patterns=list(wanted), local_files_only=silent is not None
            )
            return Path(found)
        except Exception as error:
            raise not_reached(repo, silent or first_line(error), "the folder as MODEL") from error
