"""Ports that stay ours while the broker is down, and a check whether a broker answers."""

import contextlib
import socket
import struct
import sys

from streams.broker.errors import BrokerError

HOST = "127.0.0.1"
_API_VERSIONS_V0 = struct.pack(">ihhih", 10, 18, 0, 1, -1)


class ReservedPort:
    """A port on the loopback interface.

    The socket is bound and never listens. On Linux the JVM can still bind and listen beside it (both set
    `SO_REUSEADDR`), and no outgoing connection gets the port: otherwise a client that keeps trying while the broker is
    down could get the very port to which it connects, connect to itself, and keep the broker from coming back.
    Elsewhere the two binds would collide, so the socket is closed at once there.
    """

    def __init__(self, port: int = 0) -> None:
        """Take the port.

        Args:
            port: The port; 0 lets the kernel pick one.

        Raises:
            BrokerError: If the port cannot be bound, for example because a program listens there.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            raise BrokerError(f"Port {port} cannot be used ({error.strerror}): choose another one.") from None
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def release(self) -> None:
        """Release the port."""
        self._socket.close()


def answers(port: int, timeout: float = 1.0) -> bool:
    """Ask the broker on a port for its API versions.

    Kafka serves requests only once it is registered and unfenced, so an answer means it is ready.

    Args:
        port: The port of the client listener.
        timeout: Seconds to wait for the connection and again for the answer.

    Returns:
        Whether it answered without an error code.
    """
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout) as connection:
        connection.sendall(_API_VERSIONS_V0)
        head = b""
        while len(head) < 10:
            part = connection.recv(10 - len(head))
            if not part:
                return False
            head += part
        _, correlation, error = struct.unpack(">iih", head)
        return bool(correlation == 1 and error == 0)
    return False
