"""A refusal by rule reads as one: what the rule says, without a traceback through Dagster's own code, where nothing is at fault."""

import functools

import dagster as dg

from factory_resources.dagster_private.versions import private, require


def _take() -> type[dg.Failure]:
    from dagster._core.errors import DagsterUserCodeProcessError
    from dagster._utils.error import SerializableErrorInfo, serializable_error_info_from_exc_info

    require(DagsterUserCodeProcessError.from_error_info, "error_info")
    require(serializable_error_info_from_exc_info, "exc_info")

    # Of an error that another process has told of, Dagster shows what that one said, and not how it came here.
    class Told(DagsterUserCodeProcessError):
        def __init__(self, message: str) -> None:
            super().__init__(message, user_code_process_error_infos=[SerializableErrorInfo(message, [], None)])

    class Refused(dg.Failure, Told):
        pass

    return Refused


@functools.cache
def _refused() -> type[dg.Failure] | None:
    return private("refusals", _take)


def refusal(message: str) -> dg.Failure:
    """What ends a step by a rule, and is not tried again. message: what the rule says."""
    return (_refused() or dg.Failure)(message, allow_retries=False)
