"""How the simulator's parts say no."""

import grpc


class Refused(Exception):
    """A call that ends with a gRPC status other than OK."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


def not_found_session() -> Refused:
    return Refused(grpc.StatusCode.NOT_FOUND, "There is no session with provided ID")  # observed


def invalid(details: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, details)


def precondition(details: str) -> Refused:
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, details)
