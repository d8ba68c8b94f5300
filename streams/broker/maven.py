"""Jars from Maven Central, through jgo; loaded only when something is missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver

from streams.broker.jars import Advance, Jar, UnavailableError

_TIMEOUT_S = 10


def resolve_with_jgo(jar: Jar, folder: Path, fresh: bool, advance: Advance) -> Path:
    """Find a jar in the machine's Maven repository, else download it.

    Args:
        jar: The wanted jar.
        folder: An empty folder for the download.
        fresh: Whether to skip the machine's Maven repository, because its copy is broken.
        advance: Called with the number of bytes as they come.

    Returns:
        The path of the jar.

    Raises:
        UnavailableError: If there is no network, or Maven Central does not deliver it.
    """

    @contextmanager
    def progress(_filename: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield advance

    # Write only to `folder`: jgo would leave half a file in the repository that Maven itself uses.
    local = [] if fresh else [MavenContext().repo_cache]
    context = MavenContext(
        PythonResolver(progress_callback=progress), repo_cache=folder, local_repos=local, timeout=_TIMEOUT_S
    )
    try:
        return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except requests.exceptions.SSLError:
        # Typical of a network whose proxy opens TLS with its own certificate authority.
        raise UnavailableError(
            "the certificate of Maven Central is not trusted here, "
            "set REQUESTS_CA_BUNDLE to the authority of your network"
        ) from None
    except requests.ConnectionError:
        raise UnavailableError("Maven Central cannot be reached, check the network") from None
    except (requests.RequestException, RuntimeError) as error:
        raise UnavailableError(f"Maven Central did not give it ({type(error).__name__})") from None
